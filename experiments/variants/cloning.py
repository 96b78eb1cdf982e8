"""Environments that say of each step that nobody has demonstrated it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces

from dreamer_nnx import spaces
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

DEMONSTRATION = spaces.LABEL + 'demonstration'


@ENV.register('labelled')
class Labelled:
  """Environments that observe `label/demonstration`, which is 0.

  The objective `cloning` reads it.

  Args:
    inner: The environments themselves.

  Source: Hansen et al. 2022, arXiv 2212.05698.
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
