import json
import random
from fractions import Fraction

import pytest

from dreamer_nnx.training.clocks import Every, Ratio


def through_json(state):
  return json.loads(json.dumps(state, allow_nan=False))


def test_every_fires_where_a_multiple_was_passed():
  every = Every(10)
  steps = (3, 9, 10, 12, 29, 30, 30, 75, 79, 80)
  fired = [step for step in steps if every(step)]
  assert fired == [10, 29, 30, 75, 80]


def test_every_fires_first_only_if_asked():
  assert [Every(10, first=True)(s) for s in (0, 7, 10)] == [True] * 3
  assert [Every(10)(s) for s in (0, 7, 10)] == [False] * 3


def test_every_of_zero_never_and_below_zero_always_fires():
  never, always = Every(0, first=True), Every(-1)
  assert not any(never(step) for step in range(50))
  assert all(always(step) for step in (0, 0, 5, 6))


def test_every_restored_fires_as_one_that_was_not_interrupted():
  whole, before, after = Every(7), Every(7), Every(7)
  steps = list(range(2, 60, 3))
  expected = [whole(step) for step in steps]
  found = [before(step) for step in steps[:8]]
  after.restore(through_json(before.state()))
  assert found + [after(step) for step in steps[8:]] == expected
  assert 5 < sum(expected) < len(expected)


def test_ratio_asks_for_one_update_first_then_by_the_steps():
  ratio = Ratio(Fraction(3, 4))
  # Credits after the calls: 0, 3/4, 6/4 - 1, 5/4 - 1, 1/4, 31/4 - 7.
  assert [ratio(step) for step in (100, 101, 102, 103, 103, 113)] == [
    1,
    0,
    1,
    1,
    0,
    7,
  ]


@pytest.mark.parametrize(
  'value', [0.1, 0.3, 1 / 3, 32 / 1024, 1, 2.5, Fraction(7, 1040)]
)
def test_ratio_does_not_drift(value):
  exact = Fraction(value).limit_denominator(1040)
  ratio, rng = Ratio(value), random.Random(0)
  step, updates = 17, 0
  for _ in range(2000):
    updates += ratio(step)
    assert updates == 1 + int(exact * (step - 17))
    step += rng.choice((1, 4, 16, 999))


def test_ratio_restored_asks_as_one_that_was_not_interrupted():
  whole, before, after = Ratio(0.3), Ratio(0.3), Ratio(0.3)
  steps = list(range(0, 200, 7))
  expected = [whole(step) for step in steps]
  found = [before(step) for step in steps[:11]]
  after.restore(through_json(before.state()))
  assert found + [after(step) for step in steps[11:]] == expected


def test_ratio_of_zero_asks_for_nothing():
  assert [Ratio(0)(step) for step in (0, 10, 1000)] == [0, 0, 0]


@pytest.mark.parametrize('value', [-0.5, float('nan')])
def test_ratio_below_zero_is_refused(value):
  with pytest.raises(ValueError, match='must be 0 or more'):
    Ratio(value)


def test_ratio_refuses_a_step_back():
  ratio = Ratio(1)
  ratio(20)
  with pytest.raises(ValueError, match='step = 19: must not be below the last'):
    ratio(19)
