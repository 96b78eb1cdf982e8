"""Diagonal linear state-space model, parallel in time."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.dynamics.latent import sg
from dreamer_nnx.dynamics.parallel import Parallel
from dreamer_nnx.nn.activations import activation
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.mlp import Dense
from dreamer_nnx.nn.norm import AXES, make_norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Count
from dreamer_nnx.signatures import takes
from dreamer_nnx.sizes import UNITS, by_size
from dreamer_nnx.slots import DYNAMICS
from dreamer_nnx.spacetypes import Space

Array = jax.Array
Memory = dict[str, Array]
WIDTHS = [2 * n for n in UNITS]
# Range in which the time of a step begins.
TIMES = (1e-3, 1e-1)
# Frequencies begin as π times 0, 1, ..., and so again after as many.
FREQUENCIES = 64


class DiagonalSSM(nnx.Module):
  """Linear recurrence of P complex numbers, each by itself.

    h[t] = a h[t-1] + √(1 - |a|²) B u[t],   y[t] = C [Re h[t], Im h[t]]
    a = exp(Δ (-exp(ν) + i ω))

  |a| < 1 for all parameters, and white inputs give states of their size.

  Args:
    size: I, of inputs and outputs.
    state: P.

  Source: Smith et al. 2022 (arXiv 2208.04933); initialised as by Gu et al. 2022
  (arXiv 2206.11893), normalised as by Orvieto et al. 2023 (arXiv 2303.06349).
  """

  def __init__(
    self,
    size: int,
    state: int,
    *,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.reads = Linear(size, 2 * state, **kw)
    self.writes = Linear(2 * state, size, **kw)
    low, high = map(math.log, TIMES)
    draw = jax.random.uniform(rngs.params(), (state,), minval=low, maxval=high)
    param = lambda x: nnx.Param(x.astype(precision.param_dtype), axes=AXES)
    self.log_time = param(draw)
    self.log_decay = param(jnp.full((state,), math.log(0.5)))
    self.frequency = param(math.pi * (jnp.arange(state) % FREQUENCIES))

  def __call__(
    self, state: Array, x: Array, is_first: Array
  ) -> tuple[Array, Array]:
    """Makes T steps.

    Args:
      state: (B, P) complex64, before the first step.
      x: (B, T, I).
      is_first: (B, T), before which the state is zero.

    Returns:
      States (B, T, P) and outputs (B, T, I).
    """
    a, gain = self._transition()
    real, imag = jnp.split(self.reads(x).astype(jnp.float32), 2, -1)
    b = gain * jax.lax.complex(real, imag)
    keep = ~is_first[..., None]
    # The state before is a part of the first input.
    b = b.at[:, 0].add(jnp.where(keep[:, 0], a * state, 0))
    a = jnp.where(keep, a, 0)
    _, states = jax.lax.associative_scan(_compose, (a, b), axis=1)
    y = jnp.concatenate([states.real, states.imag], -1).astype(x.dtype)
    return states, self.writes(y)

  def _transition(self) -> tuple[Array, Array]:
    """Computes a (P,) complex64 and √(1 - |a|²) (P,) float32."""
    params = (self.log_time, self.log_decay, self.frequency)
    time, decay, frequency = (x[...].astype(jnp.float32) for x in params)
    time = jnp.exp(time)
    decay = -time * jnp.exp(decay)
    a = jnp.exp(jax.lax.complex(decay, time * frequency))
    return a, jnp.sqrt(-jnp.expm1(2 * decay))


def _compose(first, second):
  """Composes h -> a h + b with a later one."""
  return second[0] * first[0], second[0] * first[1] + second[1]


class Layer(nnx.Module):
  """Residual layer around a recurrence, x + y σ(gate(y)).

  y = act(ssm(u) + skip u),   u = norm(x)
  """

  def __init__(
    self,
    size: int,
    state: int,
    *,
    act: str,
    norm: str,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.norm = make_norm(norm, size)
    self.act = activation(act)
    self.ssm = DiagonalSSM(size, state, **kw)
    self.skip = nnx.Param(jnp.ones((size,)), axes=AXES)
    self.gate = Linear(size, size, **kw)

  def __call__(
    self, state: Array, x: Array, is_first: Array
  ) -> tuple[Array, Array]:
    u = self.norm(x)
    states, y = self.ssm(state, u, is_first)
    y = self.act(y + self.skip[...].astype(x.dtype) * u)
    return states, x + y * jax.nn.sigmoid(self.gate(y))


class LayeredSSM(nnx.Module):
  """Dense input, L residual layers and a norm; the memory is their states.

  Args:
    deter: D, the size of all layers.
    stoch, action: Sizes of the parts of the inputs.
    layers, state: L, P.
  """

  def __init__(
    self,
    deter: int,
    stoch: int,
    action: int,
    *,
    layers: int,
    state: int,
    hidden: int,
    act: str,
    norm: str,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    del hidden
    kw = dict(act=act, norm=norm, winit=winit, precision=precision, rngs=rngs)
    self.dense = Dense(stoch + action, deter, **kw)
    self.layers = nnx.List([Layer(deter, state, **kw) for _ in range(layers)])
    self.norm = make_norm(norm, deter)
    self.shape = (layers, state)

  def initial(self, batch_size: int) -> Memory:
    zeros = jnp.zeros((batch_size, *self.shape))
    return {'real': zeros, 'imag': zeros}

  def __call__(
    self, memory: Memory, x: Array, is_first: Array
  ) -> tuple[Memory, Array, Memory]:
    # (B, L, P) complex64.
    before = jax.lax.complex(memory['real'], memory['imag'])
    x, states = self.dense(x), []
    for i, layer in enumerate(self.layers):
      state, x = layer(before[:, i], x, is_first)
      states.append(state)
    # L times (B, T, P) to (B, T, L, P).
    states = jnp.stack(states, 2)
    states = {'real': states.real, 'imag': states.imag}
    return {k: s[:, -1] for k, s in states.items()}, self.norm(x), states


@DYNAMICS.register('ssm')
class SSM(Parallel):
  """Diagonal linear recurrences, computed for all steps at once.

    deter[t] = layers of ssm over [stoch, action] before t
    posterior = net(tokens),   prior = net(deter)

  States are kept in float32; an entry has them in the compute format.

  Args:
    deter: D, the size of all layers.
    state: P, complex numbers in the state of a layer.
    layers: Layers of the recurrence.

  Source: in the manner of Samsami et al. 2024 (arXiv 2403.04253).
  """

  sizes = by_size(deter=WIDTHS, state=WIDTHS, hidden=UNITS)

  @takes(Parallel)
  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, Space],
    *,
    deter: Count = 1024,
    state: Count = 1024,
    layers: Count = 2,
    **shared,
  ):
    core = functools.partial(LayeredSSM, deter, layers=layers, state=state)
    super().__init__(token_size, action_space, deter, core, **shared)
    dtype = self.precision.compute_dtype
    part = jax.ShapeDtypeStruct((layers, state), dtype)
    stoch = self.stochastic.entry
    self.entry_space = {'real': part, 'imag': part, 'stoch': stoch}
    self.context = 1

  def entry(self, stoch: Array, states: Memory) -> contracts.Entry:
    packed = self.stochastic.pack(stoch)
    return jax.tree.map(self.precision.cast, states) | {'stoch': packed}

  def resume(self, context: contracts.Context) -> contracts.Carry:
    # (B, C, ...) to (B, ...), the last step.
    entry = {name: sg(x[:, -1]) for name, x in context.entry.items()}
    state = {k: entry[k].astype(jnp.float32) for k in ('real', 'imag')}
    return state | {'stoch': self.stochastic.unpack(entry['stoch'])}

  def starts(
    self, carry: contracts.Carry, observed: contracts.Observed, count: int
  ) -> contracts.Carry:
    del carry
    # (B, T, ...) to (B·count, ...).
    last = lambda x, shape: x[:, -count:].reshape(-1, *shape)
    shape = self.entry_space['real'].shape
    state = {k: last(observed.extra[k], shape) for k in ('real', 'imag')}
    stoch = last(observed.feat['stoch'], self.stochastic.shape)
    return state | {'stoch': stoch}
