"""Redundancy reduction between features and tokens."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import contracts, spacetypes
from dreamer_nnx.contracts import Replayed
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import HEAD, OBJECTIVE

sg = jax.lax.stop_gradient
Array = jax.Array
# One linear map.
PROJECTOR = Part(Predictor, layers=0, head=Choice(HEAD, 'mse'))


@OBJECTIVE.register('barlow')
class Barlow(nnx.Module):
  """Agreement of features with the tokens, number by number: R2-Dreamer.

    C_ij = mean over B T of x̂_i ê_j,   x = projector(feat), e = sg(tokens)
    loss = Σ_i (1 - C_ii)² + redundancy · Σ_{i≠j} C_ij²

  A hat is the distance to the mean in standard deviations of the batch. The
  encoder learns through the features, for tokens alone could all become alike.
  No decoder is needed.

  Args:
    scale: Weight of the loss `barlow`.
    redundancy: Weight of the correlations between different numbers.
    projector: Features to numbers that are compared with the tokens.

  Source: Morihira et al. 2026, arXiv 2603.18202; Barlow Twins, Zbontar et al.
  2021, arXiv 2103.03230.
  """

  def __init__(
    self,
    token_size: int,
    feat_space: Mapping[str, int],
    *,
    scale: Weight = 0.05,
    redundancy: Weight = 5e-4,
    projector: Part = PROJECTOR,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.scale, self.redundancy = scale, redundancy
    space = spacetypes.box(-np.inf, np.inf, (token_size,))
    self.projector = projector(
      feat_space=feat_space, space=space, precision=precision, rngs=rngs
    )

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `barlow` (), and the mean correlations."""
    del key, update
    projected = self.projector(replayed.observed.feat).pred()
    same, other = correlations(projected, sg(replayed.tokens))
    loss = jnp.square(1 - same).sum()
    loss += self.redundancy * jnp.square(other).sum()
    metrics = {
      'barlow/same': same.mean(),
      'barlow/other': jnp.abs(other).mean(),
    }
    return {'barlow': loss}, metrics


def correlations(x: Array, y: Array) -> tuple[Array, Array]:
  """Correlates the numbers of x and y (..., n) over all leading axes.

  Returns:
    Those of equal numbers (n,), and of others (n, n), 0 on its diagonal.
  """
  size = x.shape[-1]
  # (..., n) to (N, n).
  x, y = (standardized(z.astype(jnp.float32).reshape(-1, size)) for z in (x, y))
  both = x.T @ y / len(x)
  return jnp.diagonal(both), both * (1 - jnp.eye(size))


def standardized(x: Array) -> Array:
  """Distances of (N, n) to the means, in deviations; 0 where all are equal."""
  x = x - x.mean(0)
  return x * jax.lax.rsqrt(jnp.square(x).mean(0) + 1e-12)
