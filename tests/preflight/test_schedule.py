"""Updates are counted as the loop makes them."""

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx.preflight import schedule
from dreamer_nnx.training.clocks import Ratio
from dreamer_nnx.training.options import TrainOptions


def test_intervals_go_on_from_offline_updates():
  config = configs.base()
  config.train.steps, config.train.offline = 100, 1000
  config.train.log_every = config.train.report_every = 0
  config.train.save_every = 600
  parts = configs.bind_all(configs.resolve(config))
  fresh = list(schedule.rows(parts, None, 0, 0))
  assert not [row for row in fresh if row.name == 'intervals']
  # All offline updates are done: none of the next 100 steps is the 1200th.
  (late,) = schedule.rows(parts, None, 0, 1000)
  assert late.found.startswith(
    'config.train.save_every = 600: is longer than the 100 steps of the run'
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
