"""HarmonyDream: losses of the model at scales that are learnt."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.slots import WEIGHTING


@WEIGHTING.register('harmony')
class Harmony(nnx.Module):
  """Brings losses of the model to about equal sizes.

    L / σ + log(1 + σ),   σ = exp(s), s learnt, 0 at first

  Of a constant L > 0 the best σ is (L + √(L² + 4 L)) / 2, so that L / σ stays
  below 1. Losses that are not named keep their scales.

  Args:
    terms: Names of losses, `a+b` for those with one σ. A decoded observation
      has a loss of its name; names that there is no loss of count for nothing.

  Raises:
    UserError: A name is twice in the terms.

  Source: Ma et al. 2024, arXiv 2310.00344.
  """

  def __init__(self, *, terms: tuple[str, ...] = ('image', 'rew', 'dyn+rep')):
    names = [name for term in terms for name in term.split('+')]
    for name in names:
      if names.count(name) > 1:
        raise UserError(f'{name!r} is there twice.', 'terms', terms)
    self.terms = terms
    self.logs = nnx.data({term: nnx.Param(jnp.zeros(())) for term in terms})

  @property
  def sigmas(self) -> dict[str, jax.Array]:
    """σ by term."""
    return {term: jnp.exp(x[...]) for term, x in self.logs.items()}

  def __call__(
    self, losses: contracts.Losses, scales: Mapping[str, float]
  ) -> contracts.Losses:
    """Returns scale · L / σ; the first loss of a term has log(1 + σ), too."""
    scaled = {name: scales[name] * loss for name, loss in losses.items()}
    for term, sigma in self.sigmas.items():
      names = [name for name in term.split('+') if name in losses]
      for name in names:
        scaled[name] = scaled[name] / sigma
      if names:
        scaled[names[0]] = scaled[names[0]] + jnp.log1p(sigma)
    return scaled
