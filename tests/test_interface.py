"""Values of environments as their agents see them, and back."""

import json
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import interface
from dreamer_nnx.envs import single
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Bounds, Interface

OBSERVED = gs.Dict(
  {
    'arm': gs.Dict({'angles': gs.Box(-3, 3, (2,), np.float64)}),
    'cell': gs.Discrete(4, start=-1),
    'camera': gs.Box(0, 255, (8, 8, 3), np.uint8),
    'log/time': gs.Box(0, 9, (), np.float32),
  }
)
TAKEN = gs.Dict(
  {
    'force': gs.Box(np.array([-2.0, 0.0]), np.array([2.0, np.inf])),
    'mode': gs.Discrete(3, start=5),
  }
)
ARM = Interface(OBSERVED, TAKEN, image_size=(4, 4))


class Arm(gymnasium.Env):
  """Tells what it is shown and what it takes."""

  observation_space, action_space = OBSERVED, TAKEN

  def __init__(self):
    self.seen = OBSERVED.sample()
    self.taken = []

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    return self.seen, {}

  def step(self, action):
    self.taken.append(action)
    return self.seen, 0.0, False, False, {}


@pytest.fixture(scope='module')
def arm():
  return Arm()


@pytest.fixture(scope='module')
def envs(arm):
  options = single.Options(image_size=(4, 4))
  made = {'num_envs': 1, 'seed': 0, 'where': 'config.env.arm'}
  envs = single.vectorize(lambda index: arm, options, **made)
  yield envs
  envs.close()


def test_it_is_that_of_the_environment(envs):
  found = interface.of(envs)
  assert found.observation == OBSERVED and found.action == TAKEN
  assert found.obs_space == envs.obs_space
  assert found.action_space == envs.action_space


def test_observations_are_those_of_the_environment(envs, arm):
  want = envs.reset()
  found, lead = ARM.observed(arm.seen)
  assert lead == () and found.keys() == envs.obs_space.keys()
  for key, value in found.items():
    np.testing.assert_array_equal(value, want[key][0])


def test_actions_are_those_of_the_environment(envs, arm):
  envs.reset()
  action = {'force': np.array([0.5, 7]), 'mode': np.array(2)}
  envs.step({key: x[None] for key, x in action.items()})
  native = ARM.native_action(action)
  np.testing.assert_array_equal(native['force'], arm.taken[-1]['force'])
  assert native['force'].tolist() == [1, 7]
  assert native['mode'] == arm.taken[-1]['mode'] == 7


def test_a_dict_by_flat_key_is_the_same(arm):
  seen = arm.seen
  flat = {
    'arm/angles': seen['arm']['angles'],
    'cell': seen['cell'],
    'camera': seen['camera'],
  }
  for key, value in ARM.observed(flat)[0].items():
    np.testing.assert_array_equal(value, ARM.observed(seen)[0][key])


@pytest.mark.parametrize('lead', [(3,), (2, 3)])
def test_rows_and_steps_are_converted_alike(lead):
  samples = [TAKEN.sample() for _ in range(np.prod(lead))]
  rows = {
    key: np.stack([x[key] for x in samples]).reshape((*lead, *TAKEN[key].shape))
    for key in samples[0]
  }
  presented, found = ARM.acted(rows)
  assert found == lead
  first = ARM.acted(samples[0])[0]
  index = (0,) * len(lead)
  for key, value in presented.items():
    np.testing.assert_array_equal(value[index], first[key])
  back = ARM.native_action(presented)
  for key, value in rows.items():
    np.testing.assert_allclose(back[key], value, rtol=1e-5, atol=1e-6)


def test_json_keeps_everything(arm):
  text = json.dumps(ARM.to_json(), allow_nan=False)
  again = Interface.from_json(json.loads(text))
  assert again == ARM
  with pytest.raises(ValueError):
    Interface.from_json({'observation': 3})
  with pytest.raises(ValueError):
    Interface.from_json([1])
  for lie in ({'drawn': [2**30, 2**30, 3]}, {'image_size': [-4, 4]}):
    with pytest.raises(ValueError):
      Interface.from_json(ARM.to_json() | lie)


def test_it_travels_to_workers_after_use(arm):
  ARM.observed(arm.seen)
  again = pickle.loads(pickle.dumps(ARM))
  assert again == ARM and again.obs_space == ARM.obs_space


def test_a_drawing_is_asked_for():
  box = gs.Box(-1, 1, (2,))
  drawn = Interface(box, gs.Discrete(2), image_size=(4, 4), drawn=(8, 8, 3))
  image = np.zeros((8, 8, 3), np.uint8)
  found, _ = drawn.observed({'vector': np.zeros(2), 'image': image})
  assert found['image'].shape == drawn.obs_space['image'].shape == (4, 4, 3)
  with pytest.raises(UserError, match='no drawing'):
    drawn.observed({'vector': np.zeros(2)})


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'cell': 7}, "'cell': 7 is not in its space"),
    ({'camera': np.zeros((8, 9, 3), np.uint8)}, r"'camera': has the shape"),
    ({'arm': {'angles': [0, np.nan]}}, 'not finite'),
    ({'arm': {}}, "there is no 'arm/angles'"),
    ({'cell': np.zeros(0, int)}, 'no rows or no steps'),
    ({'arm': 3.0}, "there is no 'arm/angles'"),
    ({'cell': [1, 1]}, 'leading axes differ'),
  ],
)
def test_what_is_not_observed_there_is_refused(arm, change, message):
  with pytest.raises(UserError, match=message):
    ARM.observed({**arm.seen, **change})


def test_what_is_not_read_may_be_missing(arm):
  seen = {key: x for key, x in arm.seen.items() if key != 'cell'}
  found, _ = ARM.observed(seen, unread={'cell'})
  assert found['cell'] == 0 and found['cell'].dtype == np.int32
  given, _ = ARM.observed(arm.seen, unread={'cell', 'arm/angles'})
  for key, value in ARM.observed(arm.seen)[0].items():
    np.testing.assert_array_equal(given[key], value)
  with pytest.raises(UserError, match="there is no 'cell'"):
    ARM.observed(seen)


def test_a_plain_value_may_be_all_there_is():
  plain = Interface(gs.Box(-1, 1, (2,)), gs.Discrete(2))
  found, lead = plain.observed([0.5, 1])
  assert lead == () and found['vector'].tolist() == [0.5, 1]
  assert plain.native_action({'action': np.array(1)}) == 1
  with pytest.raises(UserError, match="no 'vector', got obs"):
    plain.observed({'obs': [0.5, 1]})


def test_bounds_lead_back():
  bounds = Bounds.of(gs.Box(np.array([-1.0, 2, 2]), np.array([3.0, 2, np.inf])))
  native = np.array([2.0, 2.0, 5.0])
  np.testing.assert_allclose(bounds.native(bounds.presented(native)), native)


def test_an_action_of_one_value_says_nothing():
  bounds = Bounds.of(gs.Box(np.array([7.0, 0.0]), np.array([7.0, 2.0])))
  assert bounds.presented(np.array([7.0, 2.0])).tolist() == [0, 1]
  assert bounds.native(np.float32([0.5, 0])).tolist() == [7, 1]


def test_the_ends_of_a_type_are_no_bounds():
  most = np.finfo(np.float32).max
  bounds = Bounds.of(gs.Box(-most, most, (2,)))
  assert bounds.native(np.float32([0.5, -3])).tolist() == [0.5, -3]
  assert bounds.presented(np.array([0.5, -3])).tolist() == [0.5, -3]


def test_actions_that_are_presented_as_they_are_stay_exact_and_are_clipped():
  bounds = Bounds.of(gs.Box(-1, 1, (3,), np.float32))
  found = bounds.native(np.float32([1e-20, 5, -5]))
  assert found.tolist() == [np.float32(1e-20), 1, -1]
  assert np.isnan(bounds.native(np.float32([np.nan, 0, 0]))[0])
