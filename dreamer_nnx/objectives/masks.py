"""Prediction of the actions that are allowed."""

from collections.abc import Mapping

import jax
from flax import nnx

from dreamer_nnx import contracts, spaces
from dreamer_nnx.contracts import Replayed, World
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import HEAD, OBJECTIVE
from dreamer_nnx.spacetypes import Space

HEADS = Part(Predictor, head=Choice(HEAD, 'binary'))


@OBJECTIVE.register('masks')
class Masks(nnx.Module):
  """Predicts `mask/<action>` from features, for policies that mask in dreams.

    loss = -Σ_c log p(mask_c),   a class is allowed where p > 1/2

  Args:
    scale: Weight of the losses `mask/<action>`.
    predictor: Features to a probability for each class.

  Raises:
    UserError: The environment gives no masks.

  Source: Huang & Ontañón 2020 (arXiv 2006.14171), for masks in policies.
  """

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    feat_space: Mapping[str, int],
    *,
    scale: Weight = 1.0,
    predictor: Part = HEADS,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    names = spaces.masked(obs_space)
    if not names:
      raise UserError('the environment gives no masks, mask/<action>.')
    self.scale = scale
    given = dict(feat_space=feat_space, precision=precision, rngs=rngs)
    self.predictors = nnx.data(
      {
        name: predictor(space=obs_space[spaces.MASK + name], **given)
        for name in names
      }
    )

  def losses(
    self, replayed: Replayed, key: jax.Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `mask/<action>` (B, T), and the share of right predictions."""
    del key, update
    losses, metrics = {}, {}
    true = spaces.masks(replayed.steps)
    for name, predictor in self.predictors.items():
      output = predictor(replayed.observed.feat)
      # What is ignored has no mask.
      kept = ~replayed.steps['is_last']
      losses[f'mask/{name}'] = kept * output.loss(true[name])
      metrics[f'mask/{name}'] = (output.pred() == true[name]).mean()
    return losses, metrics

  def mask(self, world: World, feat: contracts.Feat) -> dict[str, jax.Array]:
    """Predicts which classes are allowed, (..., classes) by action."""
    del world
    return {k: p(feat).pred() for k, p in self.predictors.items()}
