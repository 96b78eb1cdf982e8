"""Random network distillation: novelty as a reward."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import contracts, spacetypes
from dreamer_nnx.contracts import Dream, Replayed, World
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.nn.slow_copy import untrained
from dreamer_nnx.nn.statistics import normalizer
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.schema import Count, Weight
from dreamer_nnx.slots import HEAD, NORMALIZER, OBJECTIVE

Array = jax.Array
NETWORK = Part(Predictor, layers=2, head=Choice(HEAD, 'mse'))
# Errors that vary less than the limit are taken for no novelty at all.
NORM = Choice(NORMALIZER, 'meanstd', limit=1e-4)


@OBJECTIVE.register('rnd')
class RND(nnx.Module):
  """Error of predicting a fixed random network, as loss and as reward.

    error = mean_i (f(sg(feat))_i - g(feat)_i)²
    loss = error,   reward = error / std(error of replayed steps)

  The target g keeps its first parameters. It reads features, as tokens cannot
  be dreamt; so what it says of a state changes while the features learn. Only
  the predictor f is trained.

  Args:
    scale: Weight of the loss `rnd`, and of the reward, which is added to that
      of the environment.
    size: Numbers that the networks return.
    target: Layers and head of the fixed network.
    predictor: Layers and head of the network that is trained.
    norm: Statistics of the errors, whose scale divides the reward.

  Source: Burda et al. 2018, arXiv 1810.12894, where the reward is divided by
  the deviation of its returns.
  """

  def __init__(
    self,
    feat_space: Mapping[str, int],
    *,
    scale: Weight = 1.0,
    size: Count = 64,
    target: Part = NETWORK,
    predictor: Part = NETWORK,
    norm: Choice = NORM,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.scale = scale
    space = spacetypes.box(-np.inf, np.inf, (size,))
    given = dict(feat_space=feat_space, precision=precision, rngs=rngs)
    self.target = untrained(target(space=space, **given))
    self.predictor = predictor(space=space, **given)
    self.norm = normalizer(norm)

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `rnd` (B, T), its mean, and the scale of the reward."""
    del key
    error = self._error(replayed.observed.feat)
    if update:
      self.norm.update(jax.lax.stop_gradient(error))
    _, scale = self.norm.stats()
    metrics = {'rnd/error': error.mean(), 'rnd/scale': jnp.asarray(scale)}
    return {'rnd': error}, metrics

  def reward(self, world: World, dream: Dream, key: Array) -> Array:
    """Computes the scaled error (N, H+1) of each state."""
    del world, key
    _, scale = self.norm.stats()
    return self._error(dream.feat) / scale

  def _error(self, feat: contracts.Feat) -> Array:
    feat = jax.lax.stop_gradient(feat)
    error = self.predictor(feat).pred() - self.target(feat).pred()
    return jnp.square(error).mean(-1)
