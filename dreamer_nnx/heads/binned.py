"""Heads over real numbers that classify them into bins."""

from collections.abc import Callable
from typing import Annotated

import jax
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.heads.continuous import continuous_shape
from dreamer_nnx.heads.projection import Projection
from dreamer_nnx.numerics import outputs, twohot
from dreamer_nnx.numerics.squash import symexp
from dreamer_nnx.numerics.squash import symlog as symlog_of
from dreamer_nnx.schema import Range
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import HEAD
from dreamer_nnx.spacetypes import Space

Bins = Annotated[int, Range(2)]
# Bounds of bins in symlog space: symexp of larger ones is near the end of
# float32.
SYMLOG_LIMIT, V1_LIMIT = 80.0, 20.0
Limit = Annotated[float, Range(-1e30, 1e30)]


class Binned(nnx.Module):
  """Logits of bins, and an output made of them.

  Args:
    bins: N.
    output: Makes an output of (..., *shape, N) logits.
  """

  @takes(Projection)
  def __init__(
    self,
    input_size: int,
    space: Space,
    bins: int,
    output: Callable[[jax.Array], object],
    **projection,
  ):
    shape = continuous_shape(space)
    self.output, self.rank = output, len(shape)
    self.logits = Projection(input_size, (*shape, bins), **projection)

  def __call__(self, x: jax.Array) -> object:
    return outputs.event(self.output(self.logits(x)), self.rank)


@HEAD.register('symexp_twohot')
@takes(Projection)
def symexp_twohot(
  input_size: int, space: Space, *, bins: Bins = 255, **projection
) -> Binned:
  """Categorical over exponentially spaced bins; `pred` is their mean.

  Args:
    bins: Numbers of the support, even in symlog space from -20 to 20.

  Source: Hafner et al. 2025 (arXiv 2301.04104v2); danijar/dreamerv3 `heads.py`.
  """
  output = lambda logits: outputs.TwoHot(logits, twohot.symexp_bins(bins))
  return Binned(input_size, space, bins, output, **projection)


@HEAD.register('symlog_twohot')
@takes(Projection)
def symlog_twohot(
  input_size: int, space: Space, *, bins: Bins = 255, **projection
) -> Binned:
  """Categorical over even bins of the symlog of a number.

  `pred` is symexp of their mean, which of a spread distribution is nearer to 0
  than the mean of the numbers.

  Args:
    bins: Number of bins, from -20 to 20 in symlog space.

  Source: Hafner et al. 2023 (arXiv 2301.04104v1).
  """
  even = lambda: twohot.even_bins(bins, V1_LIMIT)
  output = lambda logits: outputs.TwoHot(logits, even(), symlog_of, symexp)
  return Binned(input_size, space, bins, output, **projection)


@HEAD.register('hl_gauss')
@takes(Projection)
def hl_gauss(
  input_size: int,
  space: Space,
  *,
  bins: Bins = 255,
  low: Limit = -20.0,
  high: Limit = 20.0,
  sigma: Annotated[float, Range(0.01, 100)] = 0.75,
  symlog: bool = True,
  **projection,
) -> Binned:
  """Categorical over even bins, trained on a normal around the target.

  `pred` is the mean of the bins, and with `symlog` symexp of it. So it is the
  target where the distribution is that of one target; of a spread one it is,
  with `symlog`, nearer to 0 than the mean of the numbers. Equal logits predict
  the middle of low and high, 0 by default.

  Args:
    bins: Number of bins, as wide as each other, from `low` to `high`.
    low, high: Ends of the bins, to which targets are clipped; with `symlog` in
      symlog space.
    sigma: Standard deviation of the normal, in widths of a bin.
    symlog: Whether the bins are even in symlog space.

  Raises:
    UserError: `low` is not below `high`, or they are beyond what symexp has.

  Source: Imani & White 2018 (arXiv 1806.04613); Farebrother et al. 2024 (arXiv
    2403.03950).
  """
  if low >= high:
    raise UserError(f'must be below high, which is {high}.', 'low', low)
  for name, end in (('low', low), ('high', high)):
    if symlog and abs(end) > SYMLOG_LIMIT:
      what = f'must be within ±{SYMLOG_LIMIT:g} in symlog space.'
      raise UserError(what, name, end)
  middle, half = (low + high) / 2, (high - low) / 2
  squash = dict(squash=symlog_of, unsquash=symexp) if symlog else {}
  # The outer bins end at low and high.
  middles = lambda: twohot.even_bins(bins, half * (1 - 1 / bins))
  output = lambda logits: outputs.HLGauss(
    logits, middles(), middle=middle, sigma=sigma, **squash
  )
  return Binned(input_size, space, bins, output, **projection)
