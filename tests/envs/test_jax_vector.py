"""Environments in JAX with continuous actions."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from dreamer_nnx.envs.jax_vector import JaxVectorEnv, Outcome


@dataclasses.dataclass(frozen=True)
class Slider:
  """The reward is the action, the observation their sum."""

  @property
  def obs_space(self):
    return {'x': spaces.Box(-np.inf, np.inf, (2,), np.float32)}

  @property
  def action_space(self):
    low = np.array([-2.0, 0.0], np.float32)
    return {'push': spaces.Box(low, np.array([2, np.inf], np.float32))}

  def reset(self, key):
    return {'x': jnp.zeros(2)}

  def observe(self, state):
    return {'x': state['x']}

  def step(self, state, action, key):
    state = {'x': state['x'] + action['push']}
    false = jnp.array(False)
    return state, Outcome(action['push'][0], false, false)


def test_continuous_actions_are_rescaled_and_stay_continuous():
  env = JaxVectorEnv(Slider(), 2, seed=0)
  space = env.action_space['push']
  assert (space.low == -1).all() and (space.high == 1).all()
  env.reset()
  push = np.array([[0.25, 0.5], [-3, -3]], np.float32)
  step = env.step({'push': push})
  np.testing.assert_allclose(step['reward'], [0.5, -2])
  np.testing.assert_allclose(step['x'], [[0.5, 0.5], [-2, 0]])
