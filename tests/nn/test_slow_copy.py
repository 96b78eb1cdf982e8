"""A copy that follows its source slowly."""

import functools
import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.slow_copy import SlowCopy, SlowParam, untrained
from dreamer_nnx.registry import Part


def make(seed=0):
  return Linear(3, 2, precision=Precision(), rngs=nnx.Rngs(seed))


def names(module, kind=nnx.Param):
  flat = nnx.to_flat_state(nnx.state(module, kind))
  return {'/'.join(map(str, path)) for path, _ in flat}


def test_a_copy_has_the_numbers_of_its_source_and_no_parameters():
  source = make()
  copy = untrained(source)
  np.testing.assert_array_equal(copy.kernel[...], source.kernel[...])
  assert not names(copy) and names(copy, SlowParam) == names(source)
  assert names(source) == {'kernel', 'bias'}
  # They are split over devices alike.
  assert copy.kernel.get_metadata()['axes'] == ('inputs', 'outputs')


def test_a_copy_is_called_like_its_source():
  source = make()
  slow, x = SlowCopy(source), np.ones((4, 3), np.float32)
  np.testing.assert_array_equal(slow(x), source(x))


@pytest.mark.parametrize('every', [1, 3])
def test_it_follows_at_its_rate_when_a_move_is_due(every):
  slow, source = SlowCopy(make(0), rate=0.25, every=every), make(1)
  target, before = (np.asarray(x.kernel[...]) for x in (source, slow.module))
  for update in range(5):
    slow.follow(source, jnp.asarray(update))
    due = update % every == 0
    expected = 0.25 * target + 0.75 * before if due else before
    found = np.asarray(slow.module.kernel[...])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    before = found
  np.testing.assert_array_equal(source.kernel[...], target)


def test_it_is_a_copy_at_a_rate_of_one():
  slow, source = SlowCopy(make(0), rate=1.0), make(1)
  slow.follow(source, jnp.asarray(0))
  np.testing.assert_array_equal(slow.module.kernel[...], source.kernel[...])
  assert isinstance(slow.module.kernel, SlowParam)


def test_it_takes_no_gradient():
  state = nnx.state(SlowCopy(make()))
  arrays = [variable for _, variable in nnx.to_flat_state(state)]
  assert len(arrays) == 2
  assert not any(isinstance(x, nnx.Param) for x in arrays)


@pytest.mark.parametrize('rate', [1.0, 0.49, 1e-6])
def test_rates_that_it_can_have(rate):
  assert SlowCopy(make(), rate=rate).rate == rate


@pytest.mark.parametrize(
  ('field', 'value', 'limits'),
  [
    ('rate', 0.5, 'must be 1, or below 0.5.'),
    ('rate', 0.98, 'must be 1, or below 0.5.'),
    ('rate', 0.0, 'must be above 0 and at most 1.'),
    ('rate', 1.5, 'must be above 0 and at most 1.'),
    ('every', 0, 'must be at least 1 and at most 2147483647.'),
  ],
)
def test_rates_that_it_cannot_have_are_refused(field, value, limits):
  message = f'config.SlowCopy.{field} = {value}: {limits}'
  make_copy = functools.partial(Part(SlowCopy, **{field: value}), source=make())
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    make_copy()
