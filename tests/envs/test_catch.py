"""`catch`: one reward at the end, reachable by the oracle only on purpose."""

import numpy as np
import pytest

from dreamer_nnx import envs
from dreamer_nnx.envs import drawing
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV


def ball(image):
  """Column of the ball: all red, with or without the paddle under it."""
  return (image[..., 0] == 255).any(1)[:, ::2].argmax(-1)


def paddle(image):
  return (image[..., 2] == 255).any(1)[:, ::2].argmax(-1)


def play(policy, steps=64, num_envs=32):
  env = envs.make_vector_env(Choice(ENV, 'catch'), num_envs, 0)
  step = env.reset()
  history = [step]
  for _ in range(steps - 1):
    step = env.step({'action': policy(step)})
    history.append(step)
  return {k: np.stack([s[k] for s in history]) for k in history[0]}


def test_the_oracle_always_catches_and_standing_still_rarely():
  oracle = lambda s: 1 + np.sign(ball(s['image']) - paddle(s['image']))
  won = play(oracle)
  assert (won['reward'][won['is_last']] == 1).all()
  still = play(lambda s: np.ones(32, int))
  # The paddle waits in one of 8 columns: 1/8 - 7/8, give or take 3 * 0.04.
  mean = still['reward'][still['is_last']].mean()
  assert mean == pytest.approx(-0.75, abs=0.12)


def test_episodes_of_eight_steps_end_in_termination():
  run = play(lambda s: np.full(32, 2))
  times = np.arange(64) % 8
  np.testing.assert_array_equal(run['is_first'][:, 0], times == 0)
  np.testing.assert_array_equal(run['is_last'][:, 0], times == 7)
  np.testing.assert_array_equal(run['is_last'], run['is_terminal'])
  np.testing.assert_array_equal(run['reward'] != 0, run['is_last'])


def test_the_ball_falls_a_row_a_step_in_one_column():
  run = play(lambda s: np.zeros(32, int), steps=8)
  red = run['image'][:, 0, :, :, 0] == 255
  rows = [np.flatnonzero(frame.any(1)).tolist() for frame in red]
  assert rows == [[2 * t, 2 * t + 1] for t in range(8)]
  assert len({tuple(frame.any(0)) for frame in red}) == 1
  place = [paddle(frame)[0] for frame in run['image']]
  assert place == [4, 3, 2, 1, 0, 0, 0, 0]


def test_overlap_shows_both():
  run = play(lambda s: 1 + np.sign(ball(s['image']) - paddle(s['image'])))
  both = drawing.OBJECT + drawing.PADDLE
  last = run['image'][run['is_last']]
  assert ((last == both).all(-1).sum((1, 2)) == 4).all()


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'size': 20}, 'config.env.catch.size = 20: .* multiple of the 8 columns'),
    ({'rows': 5}, 'config.env.catch.size = 16: .* multiple of the 5 rows'),
    ({'rows': 2}, 'config.env.catch.rows = 2: must be at least 3'),
    ({'size': 0}, 'config.env.catch.size = 0: must be at least 1'),
  ],
)
def test_fields_out_of_range(fields, message):
  with pytest.raises(ValueError, match=message):
    envs.make_vector_env(Choice(ENV, 'catch', **fields), 1, 0)
