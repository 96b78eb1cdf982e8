"""Environments stepped at a fixed rate, by a clock that the tests move."""

import time

import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import envs
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs.pacing import PacedVectorEnv, Pacer
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from tests.envs.games import Counter, start
from tests.training.fake_clock import FakeClock

RATE = 10.0
ACTION = {'action': np.zeros(2, np.int32)}


class Sleeper(FakeClock):
  """A clock that goes on while it is slept by, and wakes up late."""

  late = 0.0

  def sleep(self, seconds: float) -> None:
    # To let others run takes a moment, too.
    self.pass_by(max(seconds, 1e-5) + self.late)


@pytest.fixture
def clock():
  return Sleeper(0.0)


@pytest.fixture
def pacer(clock):
  return Pacer(RATE, clock, clock.sleep)


def begin(pacer, clock, work):
  """Times at which steps begin, each followed by so many seconds of work."""
  times = []
  for seconds in work:
    pacer.wait()
    times.append(clock.now)
    clock.pass_by(seconds)
  return times


def test_steps_begin_at_multiples_of_the_period(pacer, clock):
  clock.now = 3.7
  work = np.random.default_rng(0).uniform(0, 0.099, 1000)
  times = begin(pacer, clock, work)
  np.testing.assert_allclose(times, 3.7 + np.arange(1000) / RATE, atol=2e-5)
  assert pacer.missed == 0
  assert pacer.lateness() < 2e-5


def test_a_late_step_begins_at_once_and_nothing_is_caught_up_with(pacer, clock):
  times = begin(pacer, clock, [0.05, 0.35, 0.05, 0.02, 0.09])
  np.testing.assert_allclose(times, [0, 0.1, 0.45, 0.55, 0.65], atol=1e-4)
  assert pacer.missed == 1
  assert pacer.lateness() == pytest.approx(0.25, abs=1e-4)
  assert pacer.lateness() == 0


def test_every_step_that_is_too_slow_misses_its_deadline(pacer, clock):
  times = begin(pacer, clock, [0.12] * 11)
  assert pacer.missed == 10
  np.testing.assert_allclose(np.diff(times), 0.12)


def test_late_by_a_twentieth_of_a_period_is_not_yet_missed(pacer, clock):
  begin(pacer, clock, [0.1049, 0.05] * 10)
  assert pacer.missed == 0
  assert pacer.lateness() == pytest.approx(0.0049, abs=1e-4)
  begin(pacer, clock, [0.1051, 0.05] * 10)
  assert pacer.missed == 10


def test_up_to_half_a_period_late_the_other_deadlines_stay(pacer, clock):
  times = begin(pacer, clock, [0.149, 0.05, 0.149, 0.05, 0.01])
  expected = [0, 0.149, 0.2, 0.349, 0.4]
  np.testing.assert_allclose(times, expected, atol=1e-4)
  assert pacer.missed == 2
  times = begin(pacer, clock, [0.151, 0.05, 0.01])
  np.testing.assert_allclose(times, [0.5, 0.651, 0.751], atol=1e-4)
  assert pacer.missed == 3


def test_steps_are_never_closer_than_half_a_period(pacer, clock):
  work = np.random.default_rng(0).exponential(0.08, 2000)
  times = begin(pacer, clock, work)
  assert np.diff(times).min() > 0.05 - 1e-6
  assert pacer.missed > 200


def test_a_system_that_wakes_up_late_does_not_lower_the_rate(pacer, clock):
  clock.late = 0.004
  times = begin(pacer, clock, [0.03] * 101)
  assert times[-1] == pytest.approx(10.0, abs=0.01)
  assert pacer.missed == 0
  clock.late = 0.02
  begin(pacer, clock, [0.03] * 10)
  assert pacer.missed == 10


def test_a_pause_is_no_miss(pacer, clock):
  begin(pacer, clock, [0.01, 0.01])
  pacer.restart()
  clock.pass_by(60)
  now = clock.now
  times = begin(pacer, clock, [0.01, 0.01])
  np.testing.assert_allclose(times, [now, now + 0.1], atol=2e-5)
  assert pacer.missed == 0
  assert pacer.lateness() < 2e-5


def paced(clock, pacer):
  slow = Slow(start(lambda index: Counter()), clock)
  return PacedVectorEnv(slow, RATE, pacer), slow


class Slow:
  """A vector of environments whose resets take ten seconds."""

  def __init__(self, env, clock):
    self._env, self._clock, self.times = env, clock, []

  def __getattr__(self, name):
    return getattr(self._env, name)

  def step(self, action):
    self.times.append(self._clock.now)
    result = self._env.step(action)
    self._clock.pass_by(10.0 if result['is_first'].any() else 0.03)
    return result


def test_resets_of_all_environments_are_no_miss(pacer, clock):
  env, slow = paced(clock, pacer)
  env.reset()
  clock.pass_by(5.0)
  firsts = [env.step(ACTION)['is_first'].all() for _ in range(8)]
  assert firsts == [False, False, False, True] * 2
  expected = [5.0, 5.1, 5.2, 5.3, 15.4, 15.5, 15.6, 15.7]
  np.testing.assert_allclose(slow.times, expected, atol=1e-4)
  assert env.stats()['env/missed_deadlines'] == 0
  env.close()


def test_deadlines_are_logged_beside_restarts(pacer, clock):
  env, _ = paced(clock, pacer)
  env.reset()
  for _ in range(3):
    env.step(ACTION)
    clock.pass_by(0.2)
  stats = env.stats()
  assert stats.pop('env/lateness_ms') == pytest.approx(130, abs=1)
  assert stats == {'env/restarts': 0, 'env/missed_deadlines': 2}
  assert env.stats()['env/lateness_ms'] == 0
  env.paused()
  env.step(ACTION)
  assert env.stats()['env/missed_deadlines'] == 2
  env.close()


def test_it_is_the_environment_in_all_else(pacer, clock):
  env, slow = paced(clock, pacer)
  assert isinstance(env, VectorEnv)
  assert env.interface == slow.interface
  assert env.max_restarts == slow.max_restarts == 10
  env.reset()
  result = env.step(ACTION)
  assert result['is_first'].tolist() == [False, False]
  assert env.cut is slow.cut
  assert env.state() is None
  env.close()


def own_rate(*, control_rate: float = 50.0, length: int = 3) -> Counter:
  return Counter(length)


CUSTOM = {'make': 'tests.envs.games:Counter'}


@pytest.mark.parametrize(
  ('name', 'fields'),
  [
    ('custom', CUSTOM),
    (f'{__name__}:own_rate', {}),
    (f'{__name__}:vector', {}),
  ],
)
def test_any_builder_with_the_field_is_paced(name, fields):
  choice = Choice(ENV, name, control_rate=100.0, **fields)
  env = envs.make_vector_env(choice, 2, 0)
  assert isinstance(env, PacedVectorEnv)
  env.reset()
  for _ in range(3):
    env.step(ACTION)
  assert 'env/missed_deadlines' in env.stats()
  env.close()
  choice = Choice(ENV, name, control_rate=0.0, **fields)
  env = envs.make_vector_env(choice, 2, 0)
  assert not isinstance(env, PacedVectorEnv)
  env.close()


def vector(*, num_envs, seed, control_rate: float = 0.0):
  del seed, control_rate
  assert num_envs == 2
  return start(lambda index: Counter())


@pytest.mark.parametrize(
  'value', [-1.0, 1e-12, 9e-4, float('nan'), float('inf'), 1e5]
)
@pytest.mark.parametrize('name', ['custom', f'{__name__}:vector'])
def test_rates_out_of_range_are_refused(name, value):
  fields = CUSTOM if name == 'custom' else {}
  with pytest.raises(UserError, match=r'control_rate = .*: must be '):
    envs.make_vector_env(Choice(ENV, name, control_rate=value, **fields), 2, 0)


@pytest.mark.parametrize('rate', [1e-3, 1e4])
def test_the_limits_of_the_rate_are_taken(rate):
  choice = Choice(ENV, 'custom', control_rate=rate, **CUSTOM)
  env = envs.make_vector_env(choice, 2, 0)
  env.reset(), env.step(ACTION)
  assert isinstance(env, PacedVectorEnv)
  env.close()


def test_a_rate_that_is_too_low_is_refused_by_the_config():
  config = configs.base()
  config.env.name, config.env.custom.control_rate = 'custom', 1e-12
  text = r'control_rate = 1e-12: must be at least 0.001 and at most 10000, or 0'
  with pytest.raises(UserError, match=text):
    configs.resolve(config)


def test_the_clock_on_the_wall_keeps_the_rate():
  """Of real sleep only this is sure: nothing begins before its deadline."""
  pacer, times = Pacer(200.0), []
  pacer.wait()
  origin = pacer._origin
  for _ in range(40):
    pacer.wait()
    times.append(time.monotonic() - origin)
  assert (np.array(times) >= np.arange(1, 41) / 200 - 1e-9).all()
