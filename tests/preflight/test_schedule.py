"""Updates and intervals are those of the loop, by its own clocks."""

import re

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx.preflight import schedule
from dreamer_nnx.training.clocks import Every, Ratio
from dreamer_nnx.training.options import EvaluateOptions, TrainOptions


def test_intervals_go_on_from_offline_updates():
  config = configs.base()
  config.train.steps, config.train.offline = 100, 1000
  config.train.log_every = config.train.report_every = 0
  config.train.save_every = 600
  parts = configs.bind_all(configs.resolve(config))
  fresh = list(schedule.rows(parts, None))
  assert not [row for row in fresh if row.name == 'intervals']
  # All offline updates are done: none of the next 112 steps is the 1200th.
  (late,) = schedule.rows(parts, None, schedule.Done(0, 1000))
  assert late.found.startswith(
    'config.train.save_every = 600: is longer than the 112 steps of the run '
    'that are counted, from 1,000 to 1,112,'
  )


@pytest.mark.parametrize(
  ('steps', 'envs', 'begin', 'ratio'),
  [
    (100, 4, 30, 8.0),
    (101, 4, 30, 3.5),
    (32, 4, 30, 8.0),
    (31, 4, 33, 8.0),
    (100, 4, 0, 8.0),
    (100, 1, 30, 0.0),
  ],
)
def test_updates_are_those_of_the_loop(steps, envs, begin, ratio):
  train = TrainOptions(
    steps=steps, envs=envs, batch_size=2, batch_length=4, train_ratio=ratio
  )
  should_train, made, done = Ratio(ratio / 8), 0, 0
  while done < steps:
    done += envs
    if done >= begin:
      made += should_train(done)
  assert schedule.count_updates(train, begin) == made


def test_updates_that_are_left_are_counted_by_the_clock_as_it_was():
  given = {'envs': 4, 'batch_size': 2, 'batch_length': 4, 'train_ratio': 3.5}
  train = TrainOptions(steps=101, **given)
  clock, made = Ratio(3.5 / 8), 0
  for step in range(32, 60, 4):
    made += clock(step)
  done = schedule.Done(56, 56, made, clock.state())
  left = sum(clock(step) for step in range(60, 105, 4))
  assert schedule.count_updates(train, 30, done) == left
  assert schedule.count_updates(train, 30) == made + left


def test_updates_owed_behind_the_last_step_take_one_more():
  config = configs.base()
  config.train.update({'steps': 60, 'envs': 1, 'act_async': True})
  parts = configs.bind_all(configs.resolve(config))
  train = parts['train']()
  done = schedule.Done(60, 60, 30, Ratio(1.0).state(), owed=8)
  assert done.last(train) == 61
  row = next(iter(schedule.rows(parts, 16, done)))
  assert row.found.startswith('30 are made; left are ')
  assert schedule.Done(60, 60, 30).last(train) == 60


def test_a_run_that_goes_on_is_told_what_is_left():
  config = configs.base()
  train = {'steps': 80, 'envs': 4, 'batch_size': 2, 'batch_length': 4}
  config.train.update(train | {'train_ratio': 8.0, 'log_every': 8})
  parts = configs.bind_all(configs.resolve(config))
  told = lambda *done: next(iter(schedule.rows(parts, 16, *done)))
  assert told().found == '65 within 80 steps; the first after 16 steps'
  done = schedule.Done(40, 40, 25, {'previous': 40, 'credit': '0'})
  assert told(done).found == '25 are made; left are 40 up to step 80'
  # It was saved before its first update.
  done = schedule.Done(12, 12)
  assert told(done).found.startswith('0 are made; left are 65 up to step 80')
  config.train.offline = 100
  parts = configs.bind_all(configs.resolve(config))
  done = schedule.Done(0, 30, 30)
  assert told(done).found == (
    '30 are made; left are 70 offline, and 65 up to step 80'
  )


def numbers(done, steps, envs, offline):
  """The numbers at which the loop asks its clocks."""
  env_steps, number = done.env_steps, done.number
  for _ in range(offline - (number - env_steps)):
    number += 1
    yield number
  while env_steps < steps:
    env_steps, number = env_steps + envs, number + envs
    yield number


@pytest.mark.parametrize(
  'done', [schedule.Done(), schedule.Done(7, 7), schedule.Done(0, 5)]
)
@pytest.mark.parametrize('envs', [1, 4, 16])
@pytest.mark.parametrize('offline', [0, 5, 12])
def test_an_interval_is_warned_of_if_its_clock_never_fires(done, envs, offline):
  for steps in (8, 16, 33):
    for interval in range(1, 60):
      clock = Every(interval)
      clock.restore({'previous': done.number or None})
      asked = list(numbers(done, steps, envs, offline))
      fires = any([clock(number) for number in asked])
      train = TrainOptions(steps, offline, envs, 16, 64, 32.0, interval, 0, 0)
      parts = {'train': lambda x=train: x, 'evaluate': EvaluateOptions}
      rows = list(schedule.rows(parts, None, done))
      assert len(rows) == (not fires), (steps, interval)
      assert all(f' to {asked[-1]}, so' in row.found for row in rows)
      for row in rows:
        most = re.search('Set it to ([0-9]+) or less', row.remedy)
        assert interval > int(most[1] if most else 0)
