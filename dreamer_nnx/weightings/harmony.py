"""Weighting by scales that are learnt."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import suggest
from dreamer_nnx.slots import WEIGHTING
from dreamer_nnx.spacetypes import Space

# All reconstructions of observations that no term names.
REC = 'rec'
# Losses that a model may have, or lack: not every decoder reconstructs.
KNOWN = (REC, 'rew', 'con', 'dyn', 'rep')


@WEIGHTING.register('harmony')
class Harmony(nnx.Module):
  """Brings losses of the model to about equal sizes: HarmonyDream.

    scale · L / σ + log(1 + σ),   σ = exp(s), s learnt, 0 at first

  of each term, in which L sums its losses. Of a constant scale · L > 0 the best
  σ is (L + √(L² + 4 L)) / 2, so that L / σ stays below 1. Losses that are not
  named keep their scales.

  Args:
    terms: Losses with a σ of their own, `a+b` for those with one σ. `rec` is
      the reconstruction of all observations that are not named by their keys;
      the losses of an objective have the names that it gives them.

  Raises:
    UserError: A name is twice in the terms, or there is no such loss.

  Source: Ma et al. 2024, arXiv 2310.00344.
  """

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    terms: tuple[str, ...] = (REC, 'rew', 'dyn+rep'),
  ):
    names = [name for term in terms for name in term.split('+')]
    for name in names:
      if names.count(name) > 1:
        raise UserError(f'{name!r} is there twice.', 'terms', terms)
    self.terms, self.observed = terms, frozenset(obs_space) - set(names)
    self.logs = nnx.data(
      {term: nnx.Param(jnp.zeros(()), axes=()) for term in terms}
    )

  @property
  def sigmas(self) -> dict[str, jax.Array]:
    """σ by term."""
    return {term: jnp.exp(x[...]) for term, x in self.logs.items()}

  def __call__(
    self, losses: contracts.Losses, scales: Mapping[str, float]
  ) -> contracts.Losses:
    """Returns scale · L / σ; the first loss of a term has log(1 + σ), too."""
    scaled = {name: scales[name] * loss for name, loss in losses.items()}
    sigmas = self.sigmas
    for term, names in self._members(scales).items():
      for name in names:
        scaled[name] = scaled[name] / sigmas[term]
      scaled[names[0]] = scaled[names[0]] + jnp.log1p(sigmas[term])
    return scaled

  def metrics(self, scales: Mapping[str, float]) -> contracts.Metrics:
    """Lists the σ that scale something."""
    used = self._members(scales)
    return {
      f'sigma/{term}': x for term, x in self.sigmas.items() if term in used
    }

  def _members(self, scales: Mapping[str, float]) -> dict[str, list[str]]:
    """Lists the losses of each term; none of scale 0, and no empty terms."""
    found = {}
    for term in self.terms:
      for name in term.split('+'):
        if name != REC and name not in scales and name not in KNOWN:
          options = sorted({*scales, REC})
          raise UserError(
            f'there is no loss {name!r}.{suggest(name, options)} Losses: '
            f'{", ".join(options)}.',
            'terms',
            self.terms,
          )
        group = self.observed if name == REC else {name}
        found.setdefault(term, []).extend(
          key for key in scales if key in group and scales[key]
        )
    return {term: names for term, names in found.items() if names}
