"""Prediction of the prototypes that observations are assigned to."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.contracts import Replayed, World
from dreamer_nnx.nn.initializers import initialize
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.nn.vectors import concat, unit
from dreamer_nnx.schema import Count, Range, Weight
from dreamer_nnx.slots import OBJECTIVE

sg = jax.lax.stop_gradient
Array = jax.Array
Positive = Annotated[float, Range(1e-3)]


@OBJECTIVE.register('dreamerpro')
class DreamerPro(nnx.Module):
  """Prediction of assignments to prototypes, from tokens and from features.

    q = sinkhorn(ẑ ĉ / epsilon),   z = slow W of slow tokens
    swav = -Σ_k q_k log softmax(x̂ ĉ / temperature)_k,   x = W tokens
    temporal = -Σ_k q_k log softmax(ŷ ĉ / temperature)_k,   y = V feat

  c are the prototypes, and a hat is a vector divided by its length. q has no
  gradient. Slow copies of encoder and W see the observation as it is, the
  encoder that is trained sees it augmented. No decoder is needed.

  Args:
    scale: Weight of the losses `swav` and `temporal`.
    prototypes: Number of prototypes K.
    size: Numbers that tokens and features are projected to.
    temperature: Divides the scores that are predicted.
    epsilon: Divides the scores that are assigned; a lower one assigns a step to
      fewer prototypes.
    iterations: Steps of the Sinkhorn-Knopp algorithm; more of them use all
      prototypes more evenly.
    rate: Share by which the slow copies move towards their sources.

  Source: Deng et al. 2022, arXiv 2110.14565; SwAV, Caron et al. 2020,
  arXiv 2006.09882. There, two augmented views of an image are encoded and each
  predicts the assignments of the other; here one view predicts those of the
  observation itself. Left out are the loss that keeps the lengths of
  projections near 1, and the 10,000 first updates without learning prototypes.
  """

  def __init__(
    self,
    encoder: contracts.Encoder,
    token_size: int,
    feat_space: Mapping[str, int],
    *,
    scale: Weight = 1.0,
    prototypes: Annotated[int, Range(2)] = 2500,
    size: Count = 32,
    temperature: Positive = 0.1,
    epsilon: Positive = 0.05,
    iterations: Count = 3,
    rate: Annotated[float, Range(above=0, high=1)] = 0.05,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.scale, self.temperature = scale, temperature
    self.epsilon, self.iterations = epsilon, iterations
    self.order = tuple(feat_space)
    given = dict(precision=precision, rngs=rngs)
    self.token_projector = Linear(token_size, size, **given)
    self.feat_projector = Linear(sum(feat_space.values()), size, **given)
    kernel = initialize('normal_in', rngs.params(), (size, prototypes))
    kernel = kernel.astype(precision.param_dtype)
    self.prototypes = nnx.Param(kernel, axes=('inputs', 'outputs'))
    self.slow_encoder = SlowCopy(encoder, rate=rate)
    self.slow_projector = SlowCopy(self.token_projector, rate=rate)

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `swav` and `temporal` (B, T), and how many prototypes are used.

    That number is e to the entropy of the mean prediction: K where all are.
    """
    del key, update
    assigned = self.assign({k: replayed.steps[k] for k in replayed.inputs})
    feat = concat(replayed.observed.feat, self.order)
    predict = lambda x: jax.nn.log_softmax(self._score(x) / self.temperature)
    swav = predict(self.token_projector(replayed.tokens))
    temporal = predict(self.feat_projector(feat))
    # (B, T, K) to (K,).
    mean = jnp.exp(temporal).mean((0, 1))
    metrics = {'dreamerpro/used': jnp.exp(jax.scipy.special.entr(mean).sum())}
    losses = {'swav': swav, 'temporal': temporal}
    losses = {k: -(assigned * logp).sum(-1) for k, logp in losses.items()}
    return losses, metrics

  def assign(self, obs: contracts.Observation) -> Array:
    """Assigns (B, T, ...) to prototypes: shares (B, T, K), without gradient."""
    scores = self._score(self.slow_projector(self.slow_encoder(obs)))
    return sinkhorn(sg(scores) / self.epsilon, self.iterations)

  def after_update(self, world: World, updates: Array) -> None:
    """Lets the slow copies follow."""
    self.slow_encoder.follow(world.encoder, updates)
    self.slow_projector.follow(self.token_projector, updates)

  def _score(self, x: Array) -> Array:
    """Cosines (..., K) of projections (..., n) and the prototypes."""
    return unit(x) @ unit(self.prototypes[...], 0)


def sinkhorn(scores: Array, iterations: int) -> Array:
  """Shares of classes (..., K), each class used about equally often.

  Each iteration divides exp(scores) by its sums over steps, then by those over
  classes, so that the latter are 1; computed as logarithms.
  """
  balance = lambda _, log: jax.nn.log_softmax(jax.nn.log_softmax(log, 0), 1)
  # (..., K) to (N, K), and back.
  log = scores.reshape(-1, scores.shape[-1])
  log = jax.lax.fori_loop(0, iterations, balance, log)
  return jnp.exp(log).reshape(scores.shape)
