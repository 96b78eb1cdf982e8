import json

import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.training.metrics import Episodes, Metrics, Rates, Stopwatch
from tests.training.fake_clock import FakeClock


class OnDevice:
  """An array that counts how often it is fetched."""

  ndim = 0
  fetched = 0

  def __init__(self, value):
    self.value = value

  def __array__(self, dtype=None, copy=None):
    OnDevice.fetched += 1
    return np.asarray(self.value, dtype)


def test_means_of_what_was_added_under_each_name():
  metrics = Metrics()
  metrics.add({'loss': jnp.float32(1.5), 'rare': 7})
  metrics.add({'loss': jnp.bfloat16(2.5), 'spread': jnp.array([[1.0], [4.0]])})
  metrics.add({'loss': np.float32(5.0)})
  found = metrics.result()
  assert found == {'loss': 3.0, 'rare': 7.0, 'spread': 2.5}
  assert {type(value) for value in found.values()} == {float}


def test_result_starts_anew():
  metrics = Metrics()
  metrics.add({'a': 1.5})
  assert metrics.result() == {'a': 1.5}
  assert metrics.result() == {}
  metrics.add({'a': 4.5})
  assert metrics.result() == {'a': 4.5}


def test_last_video_is_kept_as_it_is():
  metrics = Metrics()
  first, last = np.arange(2 * 2 * 3 * 4 * 3, dtype=np.uint8).reshape(
    2, 2, 3, 4, 3
  )
  metrics.add({'video': jnp.array(first), 'a': 1})
  metrics.add({'video': jnp.array(last)})
  metrics.add({'a': 2})
  found = metrics.result()
  assert found['a'] == 1.5
  assert found['video'].dtype == np.uint8
  np.testing.assert_array_equal(found['video'], last)
  assert metrics.result() == {}


def test_nan_stays_nan():
  metrics = Metrics()
  for value in (1.0, float('nan'), 3.0):
    metrics.add({'loss': jnp.float32(value), 'other': 2.5})
  found = metrics.result()
  assert np.isnan(found['loss'])
  assert found['other'] == 2.5


def test_counts_and_rates_are_those_of_the_last_update():
  metrics = Metrics(window=4)
  for count in range(1, 8):
    metrics.add({'opt/updates': count, 'opt/lr': 0.5 * count, 'a': count})
  assert metrics.result() == {'opt/updates': 7.0, 'opt/lr': 3.5, 'a': 4.0}
  assert metrics.result() == {}


def test_arrays_without_elements_are_left_out():
  metrics = Metrics()
  metrics.add({'none': jnp.zeros((4, 0)), 'some': jnp.float32(1.5)})
  assert metrics.result() == {'some': 1.5}


def test_nothing_is_fetched_before_the_result():
  metrics, before = Metrics(), OnDevice.fetched
  for value in range(100):
    metrics.add({'loss': OnDevice(value)})
  assert OnDevice.fetched == before
  assert metrics.result() == {'loss': 49.5}
  assert OnDevice.fetched == before + 100


def test_beyond_the_window_only_the_older_half_is_fetched():
  metrics, before = Metrics(window=8), OnDevice.fetched
  for value in range(8):
    metrics.add({'loss': OnDevice(value)})
  assert OnDevice.fetched == before + 4
  for value in range(8, 101):
    metrics.add({'loss': OnDevice(value)})
  assert metrics.result() == {'loss': 50.0}


# Two environments; the second begins its second episode at step 3.
REWARD = np.array([[0, 1, 1, 2, 0.5], [0, -1, 4, 0, 1]], np.float32)
FIRST = np.array([[1, 0, 0, 0, 0], [1, 0, 0, 1, 0]], bool)
LAST = np.array([[0, 0, 0, 0, 1], [0, 0, 1, 0, 1]], bool)
HIT = np.array([[-5, -3, -4, -6, -7], [1, 0, 1, 0, 1]], np.float32)


def step(index):
  return {
    'reward': REWARD[:, index],
    'is_first': FIRST[:, index],
    'is_last': LAST[:, index],
    'log/hit': HIT[:, index],
    'image': np.ones((2, 4, 4, 3), np.uint8),
  }


def add_all(episodes, indices=range(5)):
  return [episodes.add(step(index)) for index in indices]


FINISHED = [
  [],
  [],
  [{
    'return': 3.0, 'length': 2.0, 'reward_rate': 1.0,
    'log/hit/avg': 2 / 3, 'log/hit/max': 1.0, 'log/hit/sum': 2.0,
  }],
  [],
  [
    {
      'return': 4.5, 'length': 4.0, 'reward_rate': 3 / 4,
      'log/hit/avg': -5.0, 'log/hit/max': -3.0, 'log/hit/sum': -25.0,
    },
    {
      'return': 1.0, 'length': 1.0, 'reward_rate': 1.0,
      'log/hit/avg': 0.5, 'log/hit/max': 1.0, 'log/hit/sum': 1.0,
    },
  ],
]  # fmt: skip


def test_finished_episodes_are_returned_as_they_end():
  assert add_all(Episodes(2)) == FINISHED


def test_result_is_the_means_over_finished_episodes():
  episodes = Episodes(2)
  add_all(episodes)
  found = episodes.result()
  assert found['episode/return'] == pytest.approx(8.5 / 3)
  assert found['episode/length'] == pytest.approx(7 / 3)
  assert found['episode/reward_rate'] == pytest.approx(2.75 / 3)
  assert found['episode/log/hit/max'] == pytest.approx(-1 / 3)
  assert found['episode/log/hit/sum'] == pytest.approx(-22 / 3)
  assert found['episode/count'] == 3.0
  assert episodes.result() == {'episode/count': 0.0}


def test_result_leaves_running_episodes_running():
  episodes = Episodes(2)
  add_all(episodes, range(4))
  assert episodes.result()['episode/count'] == 1.0
  assert episodes.add(step(4)) == FINISHED[4]


def test_episodes_of_one_environment_do_not_depend_on_the_others():
  alone, found = Episodes(1), []
  for index in range(5):
    row = {key: value[1:] for key, value in step(index).items()}
    found += alone.add(row)
  assert found == [FINISHED[2][0], FINISHED[4][1]]


def test_first_step_drops_an_episode_that_did_not_end():
  episodes = Episodes(2)
  episodes.add(step(1) | {'reward': np.array([90.0, 80.0])})
  assert add_all(episodes) == FINISHED


def test_arrays_handed_in_are_not_written_to():
  episodes, reward = Episodes(2), np.array([3.0, 4.0])
  episodes.add(step(1) | {'reward': reward})
  episodes.add(step(0))
  np.testing.assert_array_equal(reward, [3.0, 4.0])


@pytest.mark.parametrize('cut', range(6))
def test_restored_episodes_go_on_as_if_not_interrupted(cut):
  before, after = Episodes(2), Episodes(2)
  found = add_all(before, range(cut))
  after.restore(json.loads(json.dumps(before.state(), allow_nan=False)))
  assert found + add_all(after, range(cut, 5)) == FINISHED
  whole = Episodes(2)
  add_all(whole)
  assert after.result() == whole.result()


def test_state_of_another_number_of_environments_is_refused():
  with pytest.raises(ValueError, match='are of 3 environments, there are 2'):
    Episodes(2).restore(Episodes(3).state())


def test_array_that_is_not_one_number_an_environment_is_refused():
  steps = step(0) | {'log/map': np.ones((2, 3))}
  with pytest.raises(ValueError, match=r'log/map of shape \(2, 3\): must be'):
    Episodes(2).add(steps)


def test_rates_are_counts_a_second_since_the_last_call():
  clock = FakeClock()
  rates = Rates(clock)
  assert rates(env_steps=500, updates=20) == {}
  clock.pass_by(4)
  assert rates(env_steps=700, updates=30) == {
    'rate/env_steps': 50.0,
    'rate/updates': 2.5,
  }
  clock.pass_by(2)
  assert rates(env_steps=700, updates=31, trained_steps=8) == {
    'rate/env_steps': 0.0,
    'rate/updates': 0.5,
  }


def test_rates_wait_until_time_has_passed():
  clock = FakeClock()
  rates = Rates(clock)
  rates(env_steps=0)
  assert rates(env_steps=30) == {}
  clock.pass_by(3)
  assert rates(env_steps=60) == {'rate/env_steps': 20.0}


def test_a_stopwatch_goes_on_from_the_seconds_of_before():
  clock = FakeClock()
  stopwatch = Stopwatch(clock)
  clock.pass_by(5)
  assert stopwatch() == 5.0
  stopwatch.resume(100.0)
  clock.pass_by(2)
  assert stopwatch() == 102.0


def test_episodes_cut_by_a_fault_do_not_count():
  episodes, first = Episodes(2), np.array([True, False])
  found = [episodes.add(step(index), first) for index in range(5)]
  # Only the first environment's one, which ends at step 4.
  assert found == [*FINISHED[:4], FINISHED[4][1:]]
  assert episodes.result()['episode/count'] == 2.0
