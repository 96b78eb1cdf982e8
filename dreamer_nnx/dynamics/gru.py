"""Recurrent state-space model around a plain GRU."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.dynamics.core import gated
from dreamer_nnx.dynamics.latent import bounded
from dreamer_nnx.dynamics.recurrent import Recurrent
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.mlp import NormAct
from dreamer_nnx.nn.norm import make_norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Count
from dreamer_nnx.signatures import takes
from dreamer_nnx.sizes import UNITS, by_size
from dreamer_nnx.slots import DYNAMICS
from dreamer_nnx.spacetypes import Space

Array = jax.Array


class DenseGRU(nnx.Module):
  """GRU deter' = z tanh(r c) + (1 - z) deter with dense gates.

    x = act(norm(linear([stoch, action])))
    r, c, z = norm(linear([deter, x]));  r = σ(r), z = σ(z - 1)

  Args:
    deter, stoch, action: Sizes D, S, A of the inputs.
    hidden: U, the size of x.
  """

  def __init__(
    self,
    deter: int,
    stoch: int,
    action: int,
    *,
    hidden: int,
    act: str,
    norm: str,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.stoch_in = Linear(stoch, hidden, **kw)
    self.action_in = Linear(action, hidden, **kw)
    self.norm_act = NormAct(hidden, norm=norm, act=act)
    self.gates = Linear(deter + hidden, 3 * deter, **kw)
    self.norm = make_norm(norm, 3 * deter)

  def embed_action(self, action: Array) -> Array:
    """Maps (..., A) to (..., U); beyond [-1, 1] only the sign counts."""
    return self.action_in(bounded(action))

  def __call__(self, deter: Array, stoch: Array, action: Array) -> Array:
    """Makes one step.

    Args:
      deter: (B, D).
      stoch: (B, S).
      action: (B, U), from `embed_action`.

    Returns:
      (B, D).
    """
    x = self.norm_act(self.stoch_in(stoch) + action)
    gates = self.gates(jnp.concatenate([deter, x], -1))
    gate = lambda gates, old: gated(*jnp.split(self.norm(gates), 3, -1), old)
    return jax.checkpoint(gate)(gates, deter)


@DYNAMICS.register('gru')
class GRU(Recurrent):
  """A dense GRU and a stochastic part, as in PlaNet.

    deter' = gru(deter, stoch, action)
    posterior = net([deter', tokens]),   prior = net(deter')

  Args:
    deter: D, the size of the recurrent state.
    absolute: The posterior reads the tokens alone, not deter.

  Source: Hafner et al. 2018 (arXiv 1811.04551), with norms.
  """

  sizes = by_size(deter=[4 * n for n in UNITS], hidden=UNITS)

  @takes(Recurrent)
  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, Space],
    *,
    deter: Count = 2048,
    absolute: bool = False,
    **shared,
  ):
    core = functools.partial(DenseGRU, deter)
    super().__init__(token_size, action_space, deter, core, absolute, **shared)
