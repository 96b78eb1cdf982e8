"""Causal transformer with a window of steps."""

import functools
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.dynamics.latent import sg
from dreamer_nnx.dynamics.parallel import Parallel
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.attention import Block, Steps
from dreamer_nnx.nn.mlp import Dense
from dreamer_nnx.nn.norm import make_norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Count, Range
from dreamer_nnx.signatures import takes
from dreamer_nnx.sizes import UNITS, by_size
from dreamer_nnx.slots import DYNAMICS
from dreamer_nnx.spacetypes import Space

Array = jax.Array
Memory = dict[str, Array]


class Stack(nnx.Module):
  """Dense input, L blocks of attention and a norm.

  The memory has `keys` and `values` (B, L, P, K) of the P = span - 1 steps
  before, the newest last, and `age` (B,): how many of them are of this episode,
  at most `span`. In a dream, see `begin`, P steps are kept once a sequence, and
  those imagined since in rings (N, L, R, K), of `dreamt` (N,) steps.

  Args:
    deter: D.
    stoch, action: Sizes of the parts of the inputs.
    layers, heads, kv_heads: L, H, G; K = G D/H.
    span: Steps that a layer attends to, the newest included.
    horizon: R is this, at most `span`.
  """

  def __init__(
    self,
    deter: int,
    stoch: int,
    action: int,
    *,
    layers: int,
    heads: int,
    kv_heads: int,
    span: int,
    horizon: int,
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
    self.blocks = nnx.List(
      [Block(deter, heads, kv_heads, span, **kw) for _ in range(layers)]
    )
    self.norm = make_norm(norm, deter)
    self.span, self.ring = span, min(horizon, span)
    self.shape = (layers, span - 1, kv_heads * (deter // heads))
    self.precision = precision

  def initial(self, batch_size: int) -> Memory:
    dtype = self.precision.compute_dtype
    zeros = jnp.zeros((batch_size, *self.shape), dtype)
    age = jnp.zeros((batch_size,), jnp.int32)
    return {'keys': zeros, 'values': zeros, 'age': age}

  def __call__(
    self, memory: Memory, x: Array, is_first: Array
  ) -> tuple[Memory, Array, Memory]:
    """Makes T steps; see `Parallel`."""
    kept, length = self.span - 1, x.shape[1]
    # (B, L, P, K); nothing of what is before a first step may be NaN.
    stale = is_first[:, 0, None, None, None]
    old = {k: jnp.where(stale, 0, memory[k]) for k in ('keys', 'values')}
    age = self._ages(memory['age'], is_first)
    # (T, P + T), and (B, T, P + T).
    distance = kept + jnp.arange(length)[:, None] - jnp.arange(kept + length)
    visible = (distance >= 0) & (distance < age[..., None])
    distance = jnp.broadcast_to(distance, visible.shape)
    x, new = self.dense(x), {'keys': [], 'values': []}
    for i, block in enumerate(self.blocks):
      queries, keys, values = block.project(x)
      new['keys'].append(keys)
      new['values'].append(values)
      join = lambda old, new, i=i: jnp.concatenate([old[:, i], new], 1)
      keys, values = join(old['keys'], keys), join(old['values'], values)
      x = block(x, queries, [Steps(keys, values, distance, visible)])
    # L times (B, T, K) to (B, L, T, K).
    new = {k: jnp.stack(parts, 1) for k, parts in new.items()}
    last = lambda k: jnp.concatenate([old[k], new[k]], 2)[:, :, length:]
    # (B, 1, P, 1), the steps of this episode.
    seen = (jnp.arange(kept)[::-1] < age[:, -1:])[:, None, :, None]
    memory = {k: jnp.where(seen, last(k), 0) for k in new}
    # (B, L, T, K) to (B, T, L, K).
    states = {k: part.swapaxes(1, 2) for k, part in new.items()}
    memory |= {'age': age[:, -1]}
    return memory, self.norm(x), states | {'age': age}

  def begin(self, memory: Memory, states: Memory, count: int) -> Memory:
    """Returns the memory of dreams from the last `count` steps.

    Args:
      memory: Before the steps.
      states: Of the steps, (B, T, ...).
    """
    layers, kept, size = self.shape
    age = states['age'][:, -count:].reshape(-1)
    ring = jnp.zeros(
      (*age.shape, layers, self.ring, size), self.precision.compute_dtype
    )
    # (B, L, P, K) and (B, T, L, K) to (B, L, P + count, K).
    join = lambda k: jnp.concatenate([memory[k], states[k].swapaxes(1, 2)], 2)
    shared = {k: join(k)[:, :, -(kept + count) :] for k in ('keys', 'values')}
    own = {'ring_keys': ring, 'ring_values': ring, 'age': age}
    return shared | own | {'dreamt': jnp.zeros_like(age)}

  def dream(self, memory: Memory, x: Array) -> tuple[Memory, Array]:
    """Makes a step from inputs (N, 1, I) to deter (N, 1, D)."""
    shared = memory['keys'], memory['values']
    rings = memory['ring_keys'], memory['ring_values']
    dreamt = memory['dreamt'] + 1
    age = jnp.minimum(memory['age'] + 1, self.span)
    # All rows are at the same step.
    slot = (dreamt[0] - 1) % self.ring
    prefix, own = self._prefix(shared[0], age, dreamt), self._own(age, dreamt)
    sequences = shared[0].shape[0]
    x, new_rings = self.dense(x), []
    for i, block in enumerate(self.blocks):
      queries, *new = block.project(x)
      # Each (N, R, K), with the new step in its slot.
      put = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=1)
      parts = [put(r[:, i], y, slot) for r, y in zip(rings, new, strict=True)]
      new_rings.append(parts)
      # (N, ...) to (B, N/B, ...), for the shared steps are (B, ...).
      rows = lambda y: y.reshape(sequences, -1, *y.shape[1:])
      sources = [
        Steps(shared[0][:, i], shared[1][:, i], *prefix),
        Steps(*map(rows, (*parts, *own))),
      ]
      x = block(rows(x[:, 0]), rows(queries[:, 0]), sources)
      # (B, N/B, D) to (N, 1, D).
      x = x.reshape(-1, 1, x.shape[-1])
    keys, values = (
      jnp.stack(parts, 1) for parts in zip(*new_rings, strict=True)
    )
    new = {'ring_keys': keys, 'ring_values': values}
    return memory | new | {'age': age, 'dreamt': dreamt}, self.norm(x)

  def _prefix(
    self, keys: Array, age: Array, dreamt: Array
  ) -> tuple[Array, Array]:
    """Computes distances of the shared steps, and which of them are visible."""
    sequences, _, length, _ = keys.shape
    # (N,) to (B, K, 1); start k is at P + k of the P + K steps.
    dreamt, age = (x.reshape(sequences, -1, 1) for x in (dreamt, age))
    place = self.span - 1 + jnp.arange(dreamt.shape[1])[:, None]
    distance = place + dreamt - jnp.arange(length)
    return distance, (distance >= dreamt) & (distance < age)

  def _own(self, age: Array, dreamt: Array) -> tuple[Array, Array]:
    """Computes the same of the imagined steps in the ring."""
    distance = (dreamt[:, None] - 1 - jnp.arange(self.ring)) % self.ring
    visible = (distance < dreamt[:, None]) & (distance < age[:, None])
    return distance, visible

  def _ages(self, age: Array, is_first: Array) -> Array:
    """Computes how many steps each one sees with itself, (B, T)."""
    index = jnp.arange(is_first.shape[1])
    # The last first step until each one, or -1.
    first = jax.lax.cummax(jnp.where(is_first, index, -1), axis=1)
    age = jnp.where(first < 0, age[:, None] + index, index - first) + 1
    return jnp.minimum(age, self.span)


@DYNAMICS.register('transformer')
class Transformer(Parallel):
  """Causal attention over the last steps' stoch and action.

    deter[t] = blocks over [stoch, action] before t, t-1, ..., t-window+1
    posterior = net(tokens),   prior = net(deter)

  Every layer attends to 1 + (window - 1) // layers steps, so that a state
  depends on no more than `window` steps through all layers. So `resume` is
  exact: replay hands it `context` steps, of which it makes keys and values
  anew.

  Args:
    deter: D, the size of all layers.
    layers: L, blocks of attention.
    heads: H, heads of the queries; divides `deter`.
    kv_heads: G, heads of keys and values, which the others share; divides
      `heads`.
    window: Steps on which a state depends, at most; above `layers`.
    horizon: Imagined steps that a dream remembers; a longer dream forgets its
      first ones.

  Source: in the manner of Chen et al. 2022 (arXiv 2202.09481) and Zhang et al.
  2023 (arXiv 2310.09615).
  """

  sizes = by_size(deter=[3 * n // 2 for n in UNITS], hidden=UNITS)

  @takes(Parallel)
  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, Space],
    *,
    deter: Count = 768,
    layers: Count = 2,
    heads: Count = 8,
    kv_heads: Count = 1,
    window: Annotated[int, Range(2)] = 64,
    horizon: Count = 16,
    **shared,
  ):
    if deter % heads:
      what = f'must be a multiple of heads, which is {heads}.'
      raise UserError(what, 'deter', deter)
    if heads % kv_heads:
      what = f'must be a divisor of heads, which is {heads}.'
      raise UserError(what, 'kv_heads', kv_heads)
    if window <= layers:
      what = f'must be above layers, which is {layers}.'
      raise UserError(what, 'window', window)
    span = 1 + (window - 1) // layers
    core = functools.partial(
      Stack,
      deter,
      layers=layers,
      heads=heads,
      kv_heads=kv_heads,
      span=span,
      horizon=horizon,
    )
    super().__init__(token_size, action_space, deter, core, **shared)
    self.entry_space = {'stoch': self.stochastic.entry}
    self.context = 1 + layers * (span - 1)

  def entry(self, stoch: Array, states: Memory) -> contracts.Entry:
    del states
    return {'stoch': self.stochastic.pack(stoch)}

  def resume(self, context: contracts.Context) -> contracts.Carry:
    stoch = self.stochastic.unpack(context.entry['stoch'])
    before = jnp.concatenate([jnp.zeros_like(stoch[:, :1]), stoch[:, :-1]], 1)
    x = self.inputs(before, context.action, ~context.is_first)
    # What was before the first of them is not known: if it begins no episode,
    # the second is the first that is seen.
    begins = jnp.asarray(context.is_first)
    begins = begins.at[:, 1].set(begins[:, 1] | ~begins[:, 0])
    memory, _, _ = self.core(self.core.initial(x.shape[0]), x, begins)
    return jax.tree.map(sg, memory | {'stoch': stoch[:, -1]})

  def starts(
    self, carry: contracts.Carry, observed: contracts.Observed, count: int
  ) -> contracts.Carry:
    memory = self.core.begin(carry, observed.extra, count)
    # (B, T, n) to (B·count, *shape).
    stoch = observed.feat['stoch'][:, -count:]
    return memory | {'stoch': stoch.reshape(-1, *self.stochastic.shape)}

  def advance(self, memory: Memory, x: Array) -> tuple[Memory, Array]:
    if 'dreamt' in memory:
      return self.core.dream(memory, x)
    return super().advance(memory, x)
