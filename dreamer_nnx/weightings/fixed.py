"""Weighting by fixed scales."""

from collections.abc import Mapping

from dreamer_nnx import contracts
from dreamer_nnx.slots import WEIGHTING


@WEIGHTING.register('fixed')
class Fixed:
  """Scales as they are: scale · loss.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  def __call__(
    self, losses: contracts.Losses, scales: Mapping[str, float]
  ) -> contracts.Losses:
    return {name: scales[name] * loss for name, loss in losses.items()}
