"""Environments and an optimiser that make a run diverge."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import optax

HUGE = 1e38


class Sound(gymnasium.Env):
  """Episodes of six steps, a reward of 1 each."""

  action_space = gymnasium.spaces.Discrete(3)
  observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.time = 0
    return self.look(), {}

  def look(self):
    return self.np_random.uniform(-1, 1, 3).astype(np.float32)

  def reward(self):
    return 1.0

  def step(self, action):
    assert np.isfinite(action).all()
    self.time += 1
    return self.look(), self.reward(), self.time >= 6, False, {}


class Huge(Sound):
  """Rewards whose sum is beyond float32."""

  def reward(self):
    return HUGE


class Once(Sound):
  """One such reward, in the 38th step of all environments of a process."""

  steps = 0

  def reward(self):
    Once.steps += 1
    return HUGE if Once.steps == 38 else 1.0


class Continuous(Sound):
  """Actions that become NaN when the policy does."""

  action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


def poisoned(
  *, at: int = 20, name: str = 'behavior/value/'
) -> optax.GradientTransformation:
  """Plain gradient descent with one update that is NaN.

  Args:
    at: Which, from 1 on.
    name: What the names of the parameters begin with that it is NaN for.
  """

  def change(updates, state, params=None):
    del params
    bad = jnp.where(state + 1 == at, jnp.nan, 0.0)
    found = {
      k: -1e-3 * g + (bad if k.startswith(name) else 0.0)
      for k, g in updates.items()
    }
    return found, state + 1

  return optax.GradientTransformation(
    lambda params: jnp.zeros((), jnp.int32), change
  )
