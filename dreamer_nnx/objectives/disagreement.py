"""Disagreement between one-step predictors, as a reward."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import contracts, spacetypes
from dreamer_nnx.contracts import Dream, Replayed, World
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.schema import Range, Weight
from dreamer_nnx.slots import HEAD, OBJECTIVE
from dreamer_nnx.spacetypes import Space

sg = jax.lax.stop_gradient
Array = jax.Array
TOKENS, ACTION = 'tokens', 'action'
PREDICTOR = Part(Predictor, layers=2, head=Choice(HEAD, 'mse'))


@OBJECTIVE.register('disagreement')
class Disagreement(nnx.Module):
  """Disagreement of an ensemble about what comes next: Plan2Explore.

    loss_t = mean_k |f_k(feat_{t-1}, a_{t-1}) - target_t|²,  0 where is_first
    reward_t = mean_i var_k f_k(feat_{t-1}, a_{t-1})_i

  Nothing but the ensemble learns from the loss. The reward of the environment
  is left out by `agent.extrinsic_scale` 0.

  Args:
    scale: Weight of the loss `disagreement`, and of the reward, which is added
      to that of the environment.
    target: A feature of the dynamics, or `tokens`.
    members: Predictors in the ensemble.
    predictor: Layers and head of each.

  Raises:
    UserError: There is no such target.

  Source: Sekar et al. 2020, arXiv 2005.05960.
  """

  def __init__(
    self,
    action_space: Mapping[str, Space],
    token_size: int,
    feat_space: Mapping[str, int],
    *,
    scale: Weight = 1.0,
    target: str = 'stoch',
    members: Annotated[int, Range(2)] = 8,
    predictor: Part = PREDICTOR,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    sizes = {**feat_space, TOKENS: token_size}
    if target not in sizes:
      known = ', '.join(sizes)
      raise UserError(f'must be one of {known}.', 'target', target)
    self.scale, self.target = scale, target
    self.action_space, self.precision = dict(action_space), precision
    inputs = {**feat_space, ACTION: vector_size(action_space)}
    output = spacetypes.box(-np.inf, np.inf, (sizes[target],))
    given = dict(feat_space=inputs, precision=precision, rngs=rngs)
    self.ensemble = nnx.List(
      [predictor(space=output, **given) for _ in range(members)]
    )

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `disagreement` (B, T), of which the first step has none."""
    del key, update
    feat, tokens = replayed.observed.feat, replayed.tokens
    target = tokens if self.target == TOKENS else feat[self.target]
    early = lambda x: x[:, :-1]
    outputs = self._predict(
      jax.tree.map(early, feat), jax.tree.map(early, replayed.action)
    )
    errors = [output.loss(sg(target[:, 1:])) for output in outputs]
    follows = ~replayed.steps['is_first'][:, 1:]
    loss = follows * sum(errors) / len(errors)
    variance = follows * self._variance(outputs)
    mean = variance.sum() / jnp.maximum(1, follows.sum())
    metrics = {'disagreement/variance': mean}
    # (B, T-1) to (B, T).
    return {'disagreement': jnp.pad(loss, [(0, 0), (1, 0)])}, metrics

  def reward(self, world: World, dream: Dream, key: Array) -> Array:
    """Computes the disagreement (N, H+1) about each state; 0 of the first."""
    del world, key
    early = lambda x: x[:, :-1]
    outputs = self._predict(
      jax.tree.map(early, dream.feat), jax.tree.map(early, dream.action)
    )
    return jnp.pad(self._variance(outputs), [(0, 0), (1, 0)])

  def _predict(
    self, feat: contracts.Feat, action: contracts.Action
  ) -> list[contracts.Output]:
    dtype = self.precision.compute_dtype
    vector = concat_vectors(self.action_space, action, dtype=dtype)
    return [member(sg({**feat, ACTION: vector})) for member in self.ensemble]

  def _variance(self, outputs: list[contracts.Output]) -> Array:
    """Averages over the numbers of the target: (..., n) to (...)."""
    return jnp.stack([output.pred() for output in outputs]).var(0).mean(-1)
