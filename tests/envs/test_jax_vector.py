"""Environments in JAX with continuous actions."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx.envs.faults import EnvError
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


@dataclasses.dataclass(frozen=True)
class Buttons(Slider):
  """Has two kinds of discrete action."""

  @property
  def action_space(self):
    pair = spaces.MultiDiscrete([2, 5])
    return {'one': spaces.Discrete(3), 'pair': pair}

  def step(self, state, action, key):
    push = jnp.array([action['one'], action['pair'].sum()])
    return super().step(state, {'push': push}, key)


def test_classes_that_there_are_not_are_refused():
  env = JaxVectorEnv(Buttons(), 2, seed=0)
  env.reset()
  good = {'one': np.array([2, 0]), 'pair': np.array([[1, 4], [0, 0]])}
  step = env.step(good)
  np.testing.assert_array_equal(step['x'], [[2, 5], [0, 0]])
  for key, value in (
    ('one', [3, 0]),
    ('one', [0, -1]),
    ('one', [0.5, 0]),
    ('one', [2**32, 0]),
    ('pair', [[2, 0], [0, 0]]),
    ('pair', [[0, 0], [0, 5]]),
  ):
    with pytest.raises(EnvError, match=f"(?s)the action '{key}' is .* not cla"):
      env.step(good | {key: np.array(value)})
  step = env.step({k: x.astype(np.int32) for k, x in good.items()})
  np.testing.assert_array_equal(step['x'], [[4, 10], [0, 0]])


def test_continuous_actions_are_rescaled_and_stay_continuous():
  env = JaxVectorEnv(Slider(), 2, seed=0)
  space = env.action_space['push']
  assert (space.low == -1).all() and (space.high == 1).all()
  env.reset()
  push = np.array([[0.25, 0.5], [-3, -3]], np.float32)
  step = env.step({'push': push})
  np.testing.assert_allclose(step['reward'], [0.5, -2])
  np.testing.assert_allclose(step['x'], [[0.5, 0.5], [-2, 0]])
