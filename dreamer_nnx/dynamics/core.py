"""The deterministic path of the RSSM: a GRU with a block-diagonal kernel."""

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import BlockLinear
from dreamer_nnx.nn.mlp import Dense, NormAct
from dreamer_nnx.nn.precision import Precision

sg = jax.lax.stop_gradient


class BlockGRU(nnx.Module):
  """GRU deter' = z tanh(r c) + (1 - z) deter, with r, c, z from G blocks.

    x = [dense(deter), dense(stoch), dense(action)]
    h = act(norm(blocklinear([deter_g, x]))), `layers` times
    r, c, z = blocklinear(h) in each block;  r = σ(r), z = σ(z - 1)

  Args:
    deter, stoch, action: Sizes D, S * C, A of the inputs.
    hidden: U, outputs of each dense input.
    blocks: G, divides D.
    layers: Block-linear layers before the gates.
  """

  def __init__(
    self,
    deter: int,
    stoch: int,
    action: int,
    *,
    hidden: int,
    blocks: int,
    layers: int,
    act: str,
    norm: str,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    if deter % blocks:
      what = f'must be a multiple of blocks, which is {blocks}.'
      raise UserError(what, 'deter', deter)
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    inputs = [deter + 3 * hidden * blocks] + [deter] * layers
    self.deter_in = Dense(deter, hidden, act=act, norm=norm, **kw)
    self.stoch_in = Dense(stoch, hidden, act=act, norm=norm, **kw)
    self.action_in = Dense(action, hidden, act=act, norm=norm, **kw)
    self.hidden = nnx.List(
      [BlockLinear(i, deter, blocks, **kw) for i in inputs[:-1]]
    )
    self.norm_acts = nnx.List(
      [NormAct(deter, norm=norm, act=act) for _ in range(layers)]
    )
    self.gates = BlockLinear(inputs[-1], 3 * deter, blocks, **kw)
    self.blocks = blocks

  def embed_action(self, action: jax.Array) -> jax.Array:
    """Maps (..., A) to (..., U); beyond [-1, 1] only the sign counts."""
    return self.action_in(action / sg(jnp.maximum(1, jnp.abs(action))))

  def __call__(
    self, deter: jax.Array, stoch: jax.Array, action: jax.Array
  ) -> jax.Array:
    """Makes one step.

    Args:
      deter: (B, D).
      stoch: (B, S * C).
      action: (B, U), from `embed_action`.

    Returns:
      (B, D).
    """
    common = [self.deter_in(deter), self.stoch_in(stoch), action]
    parts = self._gates(deter, jnp.concatenate(common, -1))
    # (B, D) to (B, G, D/G), like the gates, and back.
    new = jax.checkpoint(gated)(*parts, deter.reshape(parts[0].shape))
    return new.reshape(deter.shape)

  def _gates(self, deter: jax.Array, common: jax.Array) -> list[jax.Array]:
    """Computes reset, candidate and update before their activations.

    Each is (B, G, D/G), in blocks to the end: flat slices of the gates would
    not vectorise.
    """
    if not len(self.hidden):
      y = self.gates.shared(deter, common)
      # (B, 3·D) to (B, G, 3, D/G).
      y = y.reshape(*y.shape[:-1], self.blocks, 3, -1)
      return [y[..., i, :] for i in range(3)]
    first, *rest = self.hidden
    *between, last = self.norm_acts
    h = first.shared(deter, common)
    for norm_act, layer in zip(between, rest, strict=True):
      h = layer(norm_act(h))
    return self.gates.split(last(h), 3)


def gated(
  reset: jax.Array, cand: jax.Array, update: jax.Array, old: jax.Array
) -> jax.Array:
  """Returns z tanh(r c) + (1 - z) old with r = σ(reset), z = σ(update - 1)."""
  cand = jnp.tanh(jax.nn.sigmoid(reset) * cand)
  update = jax.nn.sigmoid(update - 1)
  return update * cand + (1 - update) * old
