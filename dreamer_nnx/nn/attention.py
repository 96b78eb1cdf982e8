"""Attention to steps that keys and values are given of, and its block."""

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
  """Steps that are attended to, or other places, such as patches of an image.

  Args:
    keys, values: (B, S, K), or (B, Q, S, K) where every query has its own.
    distance: (B, Q, S), how many steps a step is before the query; not needed
      by attention without a bias.
    visible: Bool (B, Q, S); without it all are.
  """

  keys: Array
  values: Array
  distance: Array | None = None
  visible: Array | None = None


class Attention(nnx.Module):
  """Multi-head attention with a learned bias for each head and distance.

    weights = softmax(q k / √(D/H) + bias[distance])

  Only distances count, so that a window that moves gives the same numbers.
  Several heads of queries share one of keys and values, so that few numbers
  are kept: K = G D/H of each.

  Args:
    size: D.
    heads: H, divides D.
    kv_heads: G, divides H.
    span: Distances of visible steps are below it; 0 for no bias.

  Source: Raffel et al. 2019 (arXiv 1910.10683) for the bias; for the shared
  heads, Ainslie et al. 2023 (arXiv 2305.13245).
  """

  def __init__(
    self,
    size: int,
    heads: int,
    kv_heads: int,
    span: int,
    *,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    kept = kv_heads * (size // heads)
    self.reads = Linear(size, size + 2 * kept, **kw)
    self.bounds = (size, size + kept)
    self.out = Linear(size, size, **kw)
    if span:
      bias = jnp.zeros((heads, span), precision.param_dtype)
      self.bias = nnx.Param(bias, axes=('heads', 'distances'))
    self.heads, self.kv_heads, self.span = heads, kv_heads, span

  def project(self, x: Array) -> list[Array]:
    """Computes queries (..., D), keys and values (..., K)."""
    return jnp.split(self.reads(x), self.bounds, -1)

  def __call__(self, queries: Array, sources: list[Steps]) -> Array:
    """Reads from all sources at once, (B, Q, D) to (B, Q, D)."""
    scores = jnp.concatenate([self._scores(queries, s) for s in sources], -1)
    # (B, G, H/G, Q, ΣS), float32.
    weights = jax.nn.softmax(scores, -1).astype(queries.dtype)
    start, total = 0, 0
    for source in sources:
      end = start + source.keys.shape[-2]
      total += self._mean(weights[..., start:end], source.values)
      start = end
    # (B, Q, G, H/G, D/H) to (B, Q, D).
    return self.out(total.reshape(queries.shape))

  def _scores(self, queries: Array, source: Steps) -> Array:
    keys, groups = self._split(source.keys), self.kv_heads
    # (B, Q, D) to (B, Q, G, H/G, D/H).
    shape = (*queries.shape[:-1], groups, self.heads // groups, keys.shape[-1])
    queries, own = queries.reshape(shape), 'q' if keys.ndim == 5 else ''
    scores = jnp.einsum(f'bqgmd,b{own}sgd->bgmqs', queries, keys)
    scores = scores.astype(jnp.float32) / math.sqrt(keys.shape[-1])
    if self.span:
      distance = jnp.clip(source.distance, 0, self.span - 1)
      # (H, B, Q, S) to (B, G, H/G, Q, S).
      bias = self.bias[...].astype(jnp.float32)[:, distance].swapaxes(0, 1)
      scores += bias.reshape(scores.shape)
    if source.visible is None:
      return scores
    lowest = jnp.finfo(jnp.float32).min
    return jnp.where(source.visible[:, None, None], scores, lowest)

  def _mean(self, weights: Array, values: Array) -> Array:
    values = self._split(values)
    own = 'q' if values.ndim == 5 else ''
    return jnp.einsum(f'bgmqs,b{own}sgd->bqgmd', weights, values)

  def _split(self, x: Array) -> Array:
    # (..., K) to (..., G, D/H).
    return x.reshape(*x.shape[:-1], self.kv_heads, -1)


class Block(nnx.Module):
  """Attention and two dense layers, each behind a norm and added to its input.

  x = x + attention(norm(x)),   x = x + down(act(up(norm(x))))

  Args:
    size, heads, kv_heads, span: Of the attention.
  """

  def __init__(
    self,
    size: int,
    heads: int,
    kv_heads: int,
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
    self.attention = Attention(size, heads, kv_heads, span, **kw)
    self.norm_mid = make_norm(norm, size)
    self.up = Linear(size, 4 * size, **kw)
    self.down = Linear(4 * size, size, **kw)
    self.act = activation(act)

  def project(self, x: Array) -> list[Array]:
    """Computes queries (..., D), keys and values (..., K)."""
    return self.attention.project(self.norm_in(x))

  def __call__(self, x: Array, queries: Array, sources: list[Steps]) -> Array:
    x = x + self.attention(queries, sources)
    return x + self.down(self.act(self.up(self.norm_mid(x))))
