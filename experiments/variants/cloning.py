"""Demonstrations: whose steps are whose, and cloning of those of others."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import contracts, spaces
from dreamer_nnx.contracts import Replayed
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import ENV, OBJECTIVE

sg = jax.lax.stop_gradient
Array = jax.Array
DEMONSTRATION = spaces.LABEL + 'demonstration'


@OBJECTIVE.register('cloning')
class Cloning(nnx.Module):
  """Likelihood of the actions of demonstrations under the policy.

    loss = -demonstration · log π(action | feat),   0 at a last step

  `label/demonstration` is 1 at steps that demonstrate, and else 0.

  Args:
    scale: Weight of the loss `cloning`.
    model_grad: The loss trains the features, too.

  Raises:
    UserError: The environment does not observe `label/demonstration`.

  Source: Hansen et al. 2022, arXiv 2212.05698.
  """

  def __init__(
    self,
    obs_space: Mapping[str, gym_spaces.Space],
    *,
    scale: Weight = 1.0,
    model_grad: bool = True,
  ):
    if DEMONSTRATION not in obs_space:
      raise UserError(f'the environment must observe {DEMONSTRATION!r}.')
    self.scale, self.model_grad = scale, model_grad

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `cloning` (B, T), and the share of demonstrations."""
    del key, update
    steps, feat = replayed.steps, replayed.observed.feat
    policy = replayed.world.behavior.policy
    joint = policy(
      feat if self.model_grad else sg(feat),
      given=spaces.labels(steps),
      mask=spaces.masks(steps),
    )
    shown = steps[DEMONSTRATION].reshape(steps['is_last'].shape) > 0.5
    logp = joint.logp(replayed.action)
    loss = jnp.where(shown & ~steps['is_last'], -logp, 0)
    return {'cloning': loss}, {'demonstrated': shown.mean()}


@ENV.register('labelled')
class Labelled:
  """Environments that observe `label/demonstration`, which is 0.

  Args:
    inner: The environments themselves.
  """

  def __init__(
    self, num_envs: int, seed: int, *, inner: Choice = Choice(ENV, 'catch')
  ):
    self.inner = inner(num_envs=num_envs, seed=seed)
    label = gym_spaces.Box(0, 1, (), np.float32)
    self.obs_space = {**self.inner.obs_space, DEMONSTRATION: label}
    self.label = {DEMONSTRATION: np.zeros(num_envs, np.float32)}

  def __getattr__(self, name: str) -> Any:
    # What is not defined here; nothing is before `inner` is there.
    if name == 'inner':
      raise AttributeError(name)
    return getattr(self.inner, name)

  def reset(self) -> dict[str, np.ndarray]:
    return {**self.inner.reset(), **self.label}

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**self.inner.step(action), **self.label}
