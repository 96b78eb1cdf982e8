"""Causal attention to the last steps, of which keys and values are kept."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.nn.activations import activation
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.norm import make_norm
from dreamer_nnx.nn.precision import Precision

Array = jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Steps:
  """Steps that are attended to.

  Args:
    keys, values: (B, S, D), or (B, Q, S, D) where every query has its own.
    distance: (B, Q, S), how many steps a step is before the query.
    visible: Bool (B, Q, S).
  """

  keys: Array
  values: Array
  distance: Array
  visible: Array


class Attention(nnx.Module):
  """Multi-head attention with a learned bias for each head and distance.

    weights = softmax(q k / √(D/H) + bias[distance])

  Only distances count, so that a window that moves gives the same numbers.

  Args:
    size: D.
    heads: H, divides D.
    span: Distances of visible steps are below it.

  Source: Raffel et al. 2019 (arXiv 1910.10683) for the bias.
  """

  def __init__(
    self,
    size: int,
    heads: int,
    span: int,
    *,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.project = Linear(size, 3 * size, **kw)
    self.out = Linear(size, size, **kw)
    bias = jnp.zeros((heads, span), precision.param_dtype)
    self.bias = nnx.Param(bias, axes=('heads', 'distances'))
    self.heads, self.span = heads, span

  def __call__(self, queries: Array, sources: list[Steps]) -> Array:
    """Reads from all sources at once, (B, Q, D) to (B, Q, D)."""
    scores = jnp.concatenate([self._scores(queries, s) for s in sources], -1)
    # (B, H, Q, ΣS), float32.
    weights = jax.nn.softmax(scores, -1).astype(queries.dtype)
    start, total = 0, 0
    for source in sources:
      end = start + source.distance.shape[-1]
      total += self._mean(weights[..., start:end], source.values)
      start = end
    # (B, Q, H, D/H) to (B, Q, D).
    return self.out(total.reshape(queries.shape))

  def _scores(self, queries: Array, source: Steps) -> Array:
    queries, keys = self._split(queries), self._split(source.keys)
    own = 'q' if source.keys.ndim == 4 else ''
    scores = jnp.einsum(f'bqhd,b{own}shd->bhqs', queries, keys)
    scores = scores.astype(jnp.float32) / math.sqrt(queries.shape[-1])
    distance = jnp.clip(source.distance, 0, self.span - 1)
    # (H, B, Q, S) to (B, H, Q, S).
    bias = self.bias[...].astype(jnp.float32)[:, distance].swapaxes(0, 1)
    lowest = jnp.finfo(jnp.float32).min
    return jnp.where(source.visible[:, None], scores + bias, lowest)

  def _mean(self, weights: Array, values: Array) -> Array:
    own = 'q' if values.ndim == 4 else ''
    values = self._split(values)
    return jnp.einsum(f'bhqs,b{own}shd->bqhd', weights, values)

  def _split(self, x: Array) -> Array:
    # (..., D) to (..., H, D/H).
    return x.reshape(*x.shape[:-1], self.heads, -1)


class Block(nnx.Module):
  """Attention and two dense layers, each behind a norm and added to its input.

  x = x + attention(norm(x)),   x = x + down(act(up(norm(x))))
  """

  def __init__(
    self,
    size: int,
    heads: int,
    span: int,
    *,
    act: str,
    norm: str,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.norm_in = make_norm(norm, size)
    self.attention = Attention(size, heads, span, **kw)
    self.norm_mid = make_norm(norm, size)
    self.up = Linear(size, 4 * size, **kw)
    self.down = Linear(4 * size, size, **kw)
    self.act = activation(act)

  def project(self, x: Array) -> list[Array]:
    """Computes queries, keys and values, (..., D) each."""
    return jnp.split(self.attention.project(self.norm_in(x)), 3, -1)

  def __call__(self, x: Array, queries: Array, sources: list[Steps]) -> Array:
    x = x + self.attention(queries, sources)
    return x + self.down(self.act(self.up(self.norm_mid(x))))
