"""Answers of environments are joined in new arrays, and looked at at once."""

import gymnasium.spaces as gs
import numpy as np
import pytest

from dreamer_nnx.envs.batch import Batch
from dreamer_nnx.envs.host import Answer

FLAT = {
  'image': gs.Box(0, 255, (4, 6, 3), np.uint8),
  'place': gs.Box(-1, 2, (2,), np.float32),
  'speed': gs.Box(0, 5, (), np.float32),
  'kind': gs.Discrete(4),
  'log/score': gs.Box(-np.inf, np.inf, (), np.float32),
}


def answers(**changes):
  """Answers of three environments; changes are of the second."""
  result = []
  for index in range(3):
    obs = {
      'image': np.full((4, 6, 3), index, np.uint8),
      'place': np.array([index / 2, 0], np.float32),
      'speed': np.float32(index),
      'kind': np.int32(index),
      'log/score': np.float32(10 * index),
    }
    reward = 0.5 * index
    if index == 1:
      reward = changes.pop('reward', reward)
      obs |= changes
    result.append(Answer(obs, reward))
  return result


def make():
  return Batch(FLAT, 3, ['place', 'speed'])


def test_rows_are_of_the_environments_and_types_of_the_spaces():
  obs, reward, sound = make().join(answers())
  assert list(obs) == list(FLAT) and sound
  assert reward.tolist() == [0, 0.5, 1] and reward.dtype == np.float32
  assert obs['place'].tolist() == [[0, 0], [0.5, 0], [1, 0]]
  assert obs['speed'].tolist() == obs['kind'].tolist() == [0, 1, 2]
  assert obs['log/score'].tolist() == [0, 10, 20]
  assert (obs['image'] == np.arange(3)[:, None, None, None]).all()
  found = {key: (x.shape, x.dtype.name) for key, x in obs.items()}
  assert found == {
    'image': ((3, 4, 6, 3), 'uint8'),
    'place': ((3, 2), 'float32'),
    'speed': ((3,), 'float32'),
    'kind': ((3,), 'int32'),
    'log/score': ((3,), 'float32'),
  }


def test_arrays_are_new_in_each_step_and_share_nothing_with_the_answers():
  batch, given = make(), answers()
  first = batch.join(given)
  kept = {key: value.copy() for key, value in first.obs.items()}
  given[0].obs['place'][:] = 2
  given[0].obs['image'][:] = 99
  batch.join(answers(place=np.float32([2, 2]), speed=np.float32(4), reward=9))
  for key, value in kept.items():
    np.testing.assert_array_equal(first.obs[key], value)
  assert first.reward.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
  'changes',
  [
    {'place': np.float32([0, np.nan])},
    {'place': np.float32([0, -np.inf])},
    {'place': np.float32([0, 2.1])},
    {'speed': np.float32(-0.1)},
    {'speed': np.float32(np.nan)},
    {'log/score': np.float32(np.inf)},
    {'reward': float('nan')},
  ],
  ids=str,
)
def test_one_number_that_is_wrong_is_noticed(changes):
  assert not make().join(answers(**changes)).sound


def test_bounds_that_are_forgotten_are_looked_at_no_more():
  batch = make()
  far = {'place': np.float32([0, 2.1])}
  batch.forget('place')
  assert batch.join(answers(**far)).sound
  assert not batch.join(answers(**far, speed=np.float32(6))).sound
  batch.forget('speed')
  assert batch.join(answers(**far, speed=np.float32(6))).sound
  assert not batch.join(answers(place=np.float32([0, np.nan]))).sound
