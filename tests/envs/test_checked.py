"""Vectors of environments that are written by others keep their contract."""

import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import UserError, contracts
from dreamer_nnx.envs import EnvError
from dreamer_nnx.envs.checked import CheckedVectorEnv

WHERE = 'config.env.mine'


class Vector:
  """Two environments; `change` is laid over what a step answers."""

  num_envs = 2

  def __init__(self, change=None, **attributes):
    self.change = change or {}
    self.obs_space = {
      'image': spaces.Box(0, 255, (4, 4, 3), np.uint8),
      'kind': spaces.Discrete(3),
      'x': spaces.Box(-1, 1, (2,), np.float32),
    }
    self.action_space = {'action': spaces.Discrete(2)}
    vars(self).update(attributes)

  def reset(self):
    return self.step({}) | {'is_first': np.ones(2, bool)}

  def step(self, action):
    step = {
      'image': np.zeros((2, 4, 4, 3), np.uint8),
      'kind': np.array([0, 2], np.int32),
      'x': np.ones((2, 2), np.float32),
      'reward': np.zeros(2, np.float32),
      'is_first': np.zeros(2, bool),
      'is_last': np.zeros(2, bool),
      'is_terminal': np.zeros(2, bool),
      'log/score': np.ones(2),
    }
    return {k: v for k, v in (step | self.change).items() if v is not None}

  def close(self): ...
  def state(self): ...
  def restore(self, state): ...

  def stats(self):
    return {}


def test_a_right_one_passes_as_it_is():
  env = CheckedVectorEnv(Vector(), WHERE)
  assert isinstance(env, contracts.VectorEnv)
  assert env.reset()['is_first'].all() and not env.cut.any()
  step = env.step({})
  for key, value in Vector().step({}).items():
    np.testing.assert_array_equal(step[key], value)
    assert step[key].dtype == value.dtype


def test_types_of_the_same_kind_are_converted():
  change = {
    'x': np.ones((2, 2)),
    'kind': np.array([1, 1]),
    'reward': np.ones(2),
  }
  step = CheckedVectorEnv(Vector(change), WHERE).step({})
  kinds = {key: step[key].dtype.name for key in change}
  assert kinds == {'x': 'float32', 'kind': 'int32', 'reward': 'float32'}


@pytest.mark.parametrize(
  'change, message',
  [
    ({'x': None}, "'x' is missing"),
    ({'is_last': None}, "'is_last' is missing"),
    ({'y': np.ones(2)}, "'y' is in no space"),
    ({'x': np.ones((2, 3), np.float32)}, r"'x' has the shape \(2, 3\), not"),
    ({'reward': np.ones((2, 1))}, "'reward' has the shape"),
    ({'log/score': np.ones((2, 3))}, "'log/score' has the shape"),
    ({'image': np.ones((2, 4, 4, 3))}, "'image' is float64, not uint8"),
    ({'image': np.full((2, 4, 4, 3), 300)}, "'image' is int64, not uint8"),
    (
      {'image': np.full((2, 4, 4, 3), 300, np.uint16)},
      "'image' of environment 0: 300 is no uint8",
    ),
    (
      {'kind': np.array([0, 2**32 + 1])},
      "'kind' of environment 1: 4294967297 is no int32",
    ),
    (
      {'kind': np.array([0, 2**64 - 2**32], np.uint64)},
      "'kind' of environment 1: 18446744069414584320 is no int32",
    ),
    ({'x': [[1], [1, 2]]}, "'x' is no array: ValueError"),
    ({'is_last': np.zeros(2)}, "'is_last' is float64, not bool"),
    (
      {'kind': np.array([0, 3])},
      r"'kind' of environment 1: 3 is not in its space Discrete\(3\)",
    ),
    ({'x': np.full((2, 2), np.nan)}, "'x' of environment 0 is nan"),
    ({'reward': np.full(2, np.inf)}, "'reward' of environment 0 is inf"),
  ],
)
def test_what_breaks_the_contract_is_refused(change, message):
  env = CheckedVectorEnv(Vector(change), WHERE)
  with pytest.raises(EnvError, match=f'{WHERE}: .*{message}'):
    env.step({})


@pytest.mark.parametrize(
  'space',
  [
    spaces.Discrete(3, start=1),
    spaces.MultiDiscrete([[2, 2]]),
    spaces.Box(0, 1, (4, 4, 3), np.float32),
    spaces.Box(0, 1, (4,), np.float64),
    spaces.Box(0, 1, (4, 0), np.float32),
    spaces.MultiBinary(3),
    spaces.Dict({}),
  ],
)
def test_spaces_of_other_kinds_are_refused(space):
  with pytest.raises(UserError, match=f"{WHERE}: 'x' has the space"):
    CheckedVectorEnv(Vector(obs_space={'x': space}), WHERE)


def test_more_classes_than_int32_has_are_refused():
  with pytest.raises(UserError, match=f"{WHERE}: 'x': it has 2147483648 clas"):
    CheckedVectorEnv(Vector(obs_space={'x': spaces.Discrete(2**31)}), WHERE)


def test_keys_are_checked():
  image = Vector().obs_space['image']
  with pytest.raises(UserError, match="'reward' is reserved"):
    CheckedVectorEnv(Vector(obs_space={'reward': image}), WHERE)


def test_it_tells_how_often_actions_are_repeated():
  told = CheckedVectorEnv(Vector(repeat=np.int64(4)), WHERE).repeat
  assert told == 4 and type(told) is int
  assert not hasattr(CheckedVectorEnv(Vector(), WHERE), 'repeat')


@pytest.mark.parametrize(
  'episodes, told',
  [(3, 3), (np.int64(3), 3), ([1, 2], 0), (lambda: 3, 0), (True, 0)],
)
def test_only_a_number_of_episodes_is_told(episodes, told):
  assert CheckedVectorEnv(Vector(episodes=episodes), WHERE).episodes == told


@pytest.mark.parametrize('repeat', [0, -1, 1.5, True, None])
def test_a_repeat_that_is_no_number_of_steps_is_refused(repeat):
  message = f'config.env.mine: its attribute `repeat` is {repeat!r}. It is a'
  with pytest.raises(UserError, match=message):
    CheckedVectorEnv(Vector(repeat=repeat), WHERE)
