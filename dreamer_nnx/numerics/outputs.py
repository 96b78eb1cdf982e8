"""Outputs of heads: distributions and regressions in one interface.

Every class holds float32 parameters with leading batch axes (...,) and answers
`pred`, `loss`, `sample`, `logp`, `prob`, `entropy`, `kl` elementwise;
`Independent` sums over event axes. Only methods that a family has are there.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx.numerics import sampling, twohot

Array = jax.Array
# A logit whose probability is 0 in float32.
EXCLUDED = -1e30
sg = jax.lax.stop_gradient


def _float32(x: Array) -> Array:
  return jnp.asarray(x, jnp.float32)


def _check_event(event: Array, shape: tuple[int, ...]) -> None:
  """Refuses events by which the parameters would be spread over more axes."""
  chex.assert_is_broadcastable(jnp.shape(event), shape)


@jax.custom_jvp
def straight_through(hard: Array, soft: Array) -> Array:
  """Returns `hard` with the gradient of `soft`, both float32."""
  del soft
  return hard


@straight_through.defjvp
def _tangent(primals, tangents):
  return primals[0], tangents[1]


class Likelihood:
  """Derives loss and probability from `logp`."""

  def loss(self, target: Array) -> Array:
    return -self.logp(sg(target))

  def prob(self, event: Array) -> Array:
    return jnp.exp(self.logp(event))


@dataclasses.dataclass(frozen=True)
class MSE:
  """Squared error (mean - sg(squash(target)))²."""

  mean: Array
  squash: Callable[[Array], Array] = lambda x: x
  unsquash: Callable[[Array], Array] = lambda x: x

  def pred(self) -> Array:
    return _float32(self.mean)

  def value(self) -> Array:
    """The prediction in the units of the target."""
    return self.unsquash(self.pred())

  def loss(self, target: Array) -> Array:
    _check_event(target, self.mean.shape)
    return jnp.square(self.pred() - sg(self.squash(_float32(target))))


@dataclasses.dataclass(frozen=True)
class Huber:
  """Charbonnier loss √((mean - sg(target))² + ε²) - ε."""

  mean: Array
  eps: float = 1.0

  def pred(self) -> Array:
    return _float32(self.mean)

  def loss(self, target: Array) -> Array:
    _check_event(target, self.mean.shape)
    distance = self.pred() - sg(_float32(target))
    return jnp.sqrt(jnp.square(distance) + self.eps**2) - self.eps


@dataclasses.dataclass(frozen=True)
class Normal(Likelihood):
  """Gaussian; `std_range` are the bounds of its std, where it has any."""

  mean: Array
  std: Array
  std_range: tuple[float, float] | None = None

  def pred(self) -> Array:
    return self.mean

  def sample(self, key: Array) -> Array:
    return sampling.normal(key, self.mean, self.std)

  def logp(self, event: Array) -> Array:
    _check_event(event, self.mean.shape)
    return jax.scipy.stats.norm.logpdf(_float32(event), self.mean, self.std)

  def entropy(self) -> Array:
    return 0.5 * jnp.log(2 * jnp.pi * jnp.square(self.std)) + 0.5

  def entropy_range(self) -> tuple[Array, Array] | None:
    if self.std_range is None:
      return None
    bounds = (jnp.full_like(self.mean, std) for std in self.std_range)
    low, high = (Normal(self.mean, std).entropy() for std in bounds)
    return low, high

  def kl(self, other: 'Normal') -> Array:
    return 0.5 * (
      jnp.square(self.std / other.std)
      + jnp.square((other.mean - self.mean) / other.std)
      + 2 * (jnp.log(other.std) - jnp.log(self.std))
      - 1
    )


@dataclasses.dataclass(frozen=True)
class Binary(Likelihood):
  """Bernoulli from a logit; soft targets y: y log p + (1-y) log(1-p)."""

  logit: Array

  def pred(self) -> Array:
    return self.logit > 0

  def sample(self, key: Array) -> Array:
    pair = [jax.nn.sigmoid(-self.logit), jax.nn.sigmoid(self.logit)]
    return sampling.categorical(key, jnp.stack(pair, -1)).astype(bool)

  def logp(self, event: Array) -> Array:
    _check_event(event, self.logit.shape)
    event = _float32(event)
    return event * jax.nn.log_sigmoid(self.logit) + (
      1 - event
    ) * jax.nn.log_sigmoid(-self.logit)

  def entropy(self) -> Array:
    prob = jax.nn.sigmoid(self.logit)
    return -self.logp(prob)

  def kl(self, other: 'Binary') -> Array:
    prob = jax.nn.sigmoid(self.logit)
    return self.logp(prob) - other.logp(prob)


def mix_uniform(logits: Array, unimix: float) -> Array:
  """Computes log((1-u) softmax(logits) + u/C) over the last axis, float32."""
  chex.assert_axis_dimension_gteq(logits, -1, 1)
  logits = _float32(logits)
  if not unimix:
    return logits
  probs = jax.nn.softmax(logits, -1)
  return jnp.log((1 - unimix) * probs + unimix / probs.shape[-1])


@dataclasses.dataclass(frozen=True)
class Categorical(Likelihood):
  """Class index from (..., C) logits."""

  logits: Array

  @functools.cached_property
  def _logprob(self) -> Array:
    return jax.nn.log_softmax(self.logits, -1)

  def pred(self) -> Array:
    return jnp.argmax(self.logits, -1)

  def sample(self, key: Array) -> Array:
    return sampling.categorical(key, jax.nn.softmax(self.logits, -1))

  def logp(self, event: Array) -> Array:
    _check_event(event, self.logits.shape[:-1])
    index = jnp.asarray(event, jnp.int32)
    onehot = jax.nn.one_hot(index, self.logits.shape[-1])
    return (self._logprob * onehot).sum(-1)

  def entropy(self) -> Array:
    return -(jax.nn.softmax(self.logits, -1) * self._logprob).sum(-1)

  def entropy_range(self) -> tuple[Array, Array]:
    high = np.log(self.logits.shape[-1])
    shape = self.logits.shape[:-1]
    return jnp.zeros(shape), jnp.full(shape, high, jnp.float32)

  def masked(self, mask: Array) -> 'Categorical':
    """Excludes the classes (..., C) where `mask` is False, unless it is all."""
    chex.assert_axis_dimension(mask, -1, self.logits.shape[-1])
    mask = jnp.where(mask.any(-1, keepdims=True), mask, True)
    # Finite, for infinities times probabilities of 0 are NaN.
    return Categorical(jnp.where(mask, _float32(self.logits), EXCLUDED))

  def kl(self, other: 'Categorical') -> Array:
    prob = jax.nn.softmax(self.logits, -1)
    return (prob * (self._logprob - other._logprob)).sum(-1)


@dataclasses.dataclass(frozen=True)
class OneHot(Likelihood):
  """Categorical whose events are one-hot, with straight-through gradient.

  Samples are exactly one-hot and have the gradient of the probabilities.
  """

  logits: Array

  @property
  def _index(self) -> Categorical:
    return Categorical(self.logits)

  def _straight_through(self, index: Array) -> Array:
    onehot = jax.nn.one_hot(index, self.logits.shape[-1], dtype=jnp.float32)
    return straight_through(onehot, jax.nn.softmax(self.logits, -1))

  def pred(self) -> Array:
    return self._straight_through(self._index.pred())

  def sample(self, key: Array) -> Array:
    return self._straight_through(self._index.sample(key))

  def logp(self, event: Array) -> Array:
    _check_event(event, self.logits.shape)
    return (jax.nn.log_softmax(self.logits, -1) * event).sum(-1)

  def entropy(self) -> Array:
    return self._index.entropy()

  def entropy_range(self) -> tuple[Array, Array]:
    return self._index.entropy_range()

  def kl(self, other: 'OneHot') -> Array:
    return self._index.kl(other._index)


@dataclasses.dataclass(frozen=True)
class TwoHot:
  """A number as a categorical over bins.

  pred = squash⁻¹(m + Σᵢ pᵢ bᵢ),
  loss = -Σᵢ twohot(squash(target) - m)ᵢ log pᵢ

  Args:
    bins: (N,), antisymmetric.
    squash, unsquash: From numbers to those that the bins stand for, and back.
    middle: m.
  """

  logits: Array
  bins: np.ndarray
  squash: Callable[[Array], Array] = lambda x: x
  unsquash: Callable[[Array], Array] = lambda x: x
  middle: float = 0.0

  def pred(self) -> Array:
    mean = twohot.symmetric_mean(self.logits, self.bins)
    return self.unsquash(self.middle + mean)

  def loss(self, target: Array) -> Array:
    _check_event(target, self.logits.shape[:-1])
    weights = self._weights(self.squash(sg(_float32(target))) - self.middle)
    return -(weights * jax.nn.log_softmax(self.logits, -1)).sum(-1)

  def logp(self, event: Array) -> Array:
    return -self.loss(event)

  def _weights(self, target: Array) -> Array:
    return twohot.twohot(target, self.bins)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HLGauss(TwoHot):
  """A number as a categorical over bins, of a normal around the target.

  pred = squash⁻¹(m + Σᵢ pᵢ bᵢ),
  loss = -Σᵢ histogram(squash(target) - m)ᵢ log pᵢ

  Args:
    bins: (N,), even and antisymmetric: middles of the bins, less their mean m.
    sigma: Standard deviation of the normal, in widths of a bin.
  """

  sigma: float = 0.75

  def _weights(self, target: Array) -> Array:
    return twohot.histogram(target, self.bins, self.sigma)


@dataclasses.dataclass(frozen=True)
class Independent:
  """Sums another output over its last `dims` axes: one event a position."""

  output: object
  dims: int

  def _sum(self, x: Array) -> Array:
    return x.sum(tuple(range(-self.dims, 0)))

  def pred(self) -> Array:
    return self.output.pred()

  def value(self) -> Array:
    return value(self.output)

  def sample(self, key: Array) -> Array:
    return self.output.sample(key)

  def loss(self, target: Array) -> Array:
    return self._sum(self.output.loss(target))

  def logp(self, event: Array) -> Array:
    return self._sum(self.output.logp(event))

  def prob(self, event: Array) -> Array:
    return jnp.exp(self.logp(event))

  def entropy(self) -> Array:
    return self._sum(self.output.entropy())

  def entropy_range(self) -> tuple[Array, Array] | None:
    bounds = getattr(self.output, 'entropy_range', lambda: None)()
    return bounds and tuple(self._sum(bound) for bound in bounds)

  def kl(self, other: 'Independent') -> Array:
    return self._sum(self.output.kl(other.output))


def value(output: object) -> Array:
  """The prediction in the units of the target, which most `pred` are in."""
  return output.value() if hasattr(output, 'value') else output.pred()


def event(output: object, rank: int) -> object:
  """Sums the last `rank` axes of an output as one event."""
  return Independent(output, rank) if rank else output


@dataclasses.dataclass(frozen=True)
class MultiCategorical(Likelihood):
  """One categorical for each number of an event, of unequal sizes.

  Args:
    parts: In the order of the flat event.
    shape: Shape of the event.
  """

  parts: Sequence[Categorical]
  shape: tuple[int, ...]

  def _join(self, numbers: list[Array]) -> Array:
    # (...,) each to (..., numbers), and to (..., *shape).
    flat = jnp.stack(numbers, -1)
    return flat.reshape(*flat.shape[:-1], *self.shape)

  def pred(self) -> Array:
    return self._join([part.pred() for part in self.parts])

  def sample(self, key: Array) -> Array:
    keys = jax.random.split(key, len(self.parts))
    return self._join(
      [p.sample(k) for p, k in zip(self.parts, keys, strict=True)]
    )

  def logp(self, event: Array) -> Array:
    # (..., *shape) to (..., numbers).
    flat = event.reshape(*event.shape[: event.ndim - len(self.shape)], -1)
    return sum(p.logp(flat[..., i]) for i, p in enumerate(self.parts))

  def entropy(self) -> Array:
    return sum(part.entropy() for part in self.parts)

  def entropy_range(self) -> tuple[Array, Array]:
    ranges = [part.entropy_range() for part in self.parts]
    return sum(low for low, _ in ranges), sum(high for _, high in ranges)

  def masked(self, mask: Array) -> 'MultiCategorical':
    """Excludes classes by a mask (..., Σ C) of all parts side by side."""
    bounds = np.cumsum([part.logits.shape[-1] for part in self.parts])[:-1]
    masks = jnp.split(mask, bounds, -1)
    pairs = zip(self.parts, masks, strict=True)
    return MultiCategorical([p.masked(m) for p, m in pairs], self.shape)

  def kl(self, other: 'MultiCategorical') -> Array:
    return sum(a.kl(b) for a, b in zip(self.parts, other.parts, strict=True))
