"""Learning rates at the updates where they turn."""

import re

import numpy as np
import pytest

from dreamer_nnx.optimizers.schedules import learning_rate


def rates(updates, *args):
  schedule = learning_rate(*args)
  return [float(schedule(update)) for update in updates]


def test_warmup_rises_from_zero_and_stays():
  found = rates([0, 1, 5, 9, 10, 11, 10_000], 4e-5, 'const', 10, 0)
  expected = np.array([0, 0.1, 0.5, 0.9, 1, 1, 1]) * 4e-5
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_without_warmup_it_starts_at_the_peak():
  assert rates([0, 7], 0.5, 'const', 0, 0) == [0.5, 0.5]


def test_linear_ends_at_a_tenth():
  found = rates([0, 10, 11, 60, 110, 500], 2.0, 'linear', 10, 110)
  expected = [0, 2, 1.982, 1.1, 0.2, 0.2]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_cosine_ends_at_nearly_nothing():
  lr = 4e-5
  found = rates([0, 10, 35, 60, 110, 500], lr, 'cosine', 10, 110)
  # The last fraction is a tenth of the rate itself.
  last = 0.1 * lr
  shape = lambda x: (1 - last) * (1 + np.cos(np.pi * x)) / 2 + last
  expected = [0, lr, lr * shape(0.25), lr * shape(0.5), lr * last, lr * last]
  np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize('schedule', ['linear', 'cosine'])
def test_a_schedule_without_an_end_is_refused(schedule):
  message = (
    f'anneal = 10: schedule {schedule!r} needs more updates than warmup = 10.'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    learning_rate(1.0, schedule, 10, 10)


def test_unknown_name_is_refused_with_a_suggestion():
  message = "schedule = 'cosin': no such name. Did you mean"
  with pytest.raises(ValueError, match=re.escape(message)):
    learning_rate(1.0, 'cosin', 10, 20)
