"""Contrast of the tokens of a step with those of all others."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.contracts import Replayed
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat, unit
from dreamer_nnx.schema import Count, Range, Weight
from dreamer_nnx.slots import OBJECTIVE

Array = jax.Array


@OBJECTIVE.register('infonce')
class InfoNCE(nnx.Module):
  """Tells the tokens of a step from those of the rest of the batch.

    s_ij = x̂_i · ŷ_j / temperature,   x = W feat, y = V tokens
    loss_i = -log(exp s_ii / Σ_j exp s_ij)

  over all N = B T steps i and j; a hat is a vector divided by its length.
  Features and tokens both learn from it, and no decoder is needed. Steps that
  look alike keep the loss above 0.

  Args:
    scale: Weight of the loss `infonce`.
    temperature: Divides the similarities; a lower one weighs the steps that
      are hardest to tell apart more.
    size: Numbers that features and tokens are projected to.
    predicted: Features are those that the dynamics predict from the step before
      and its action, so that they do not know the tokens. First steps of an
      episode, and of a batch, then have no loss.

  Source: van den Oord et al. 2018, arXiv 1807.03748, with a linear score of
  the projections and cosines.
  """

  def __init__(
    self,
    token_size: int,
    feat_space: Mapping[str, int],
    *,
    scale: Weight = 1.0,
    temperature: Annotated[float, Range(1e-3)] = 0.1,
    size: Count = 128,
    predicted: bool = False,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.scale, self.temperature = scale, temperature
    self.predicted, self.order = predicted, tuple(feat_space)
    given = dict(precision=precision, rngs=rngs)
    self.feat_projector = Linear(sum(feat_space.values()), size, **given)
    self.token_projector = Linear(token_size, size, **given)

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `infonce` (B, T), and the share of steps that are told."""
    del update
    feat, tokens = replayed.observed.feat, replayed.tokens
    counts = jnp.ones(tokens.shape[:2], bool)
    if self.predicted:
      feat, tokens = self._predict(replayed, key), tokens[:, 1:]
      counts = ~replayed.steps['is_first'][:, 1:]
    x = self.feat_projector(concat(feat, self.order))
    y = self.token_projector(tokens)
    # (B, T, n) to (N, N), N = B T.
    scores = similarities(x, y) / self.temperature
    logp = jnp.diagonal(jax.nn.log_softmax(scores, -1))
    told = scores.argmax(-1) == jnp.arange(len(scores))
    loss = jnp.where(counts, -logp.reshape(counts.shape), 0)
    told = (counts & told.reshape(counts.shape)).sum()
    # (B, T-1) to (B, T), where the features are predicted.
    begins = [(0, 0), (int(self.predicted), 0)]
    metrics = {'infonce/told': told / jnp.maximum(1, counts.sum())}
    return {'infonce': jnp.pad(loss, begins)}, metrics

  def _predict(self, replayed: Replayed, key: Array) -> contracts.Feat:
    """Predicts features (B, T-1, n) of all steps but the first."""
    rows, steps = replayed.tokens.shape[:2]
    dynamics = replayed.world.dynamics
    starts = dynamics.starts(replayed.carry, replayed.observed, steps)
    # (B, T, ...) to (B T, ...), and back.
    flat = lambda x: x.reshape(rows * steps, *x.shape[2:])
    _, feat = dynamics.predict(starts, jax.tree.map(flat, replayed.action), key)
    unflat = lambda x: x.reshape(rows, steps, -1)[:, :-1]
    return jax.tree.map(unflat, feat)


def similarities(x: Array, y: Array) -> Array:
  """Cosines (N, N) of the vectors of x and y (..., n)."""
  x, y = (unit(z).reshape(-1, z.shape[-1]) for z in (x, y))
  return x @ y.T
