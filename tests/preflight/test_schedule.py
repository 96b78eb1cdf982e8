"""Updates are counted as the loop makes them."""

import pytest

from dreamer_nnx.preflight import schedule
from dreamer_nnx.training.clocks import Ratio
from dreamer_nnx.training.options import TrainOptions


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
