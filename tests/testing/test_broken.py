"""Broken components of each slot are caught, by the promise they break."""

import pytest

from dreamer_nnx import testing
from dreamer_nnx.slots import SLOTS
from tests.testing import parts
from tests.testing.broken import BROKEN

NAMES = [slot.name for slot in SLOTS]
CASES = [
  pytest.param(slot, builder, words, id=f'{slot}-{builder.__name__}')
  for slot, found in BROKEN.items()
  for builder, words in found
]


@pytest.mark.parametrize('slot', NAMES)
def test_every_slot_has_three(slot):
  assert len(BROKEN[slot]) >= 3


# `test_new` checks them as files.
@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.parametrize('slot', NAMES)
def test_template_keeps_its_promises(slot):
  check = getattr(testing, f'check_{slot}')
  check(parts.component(slot))


@pytest.mark.slow
@pytest.mark.parametrize(('slot', 'builder', 'words'), CASES)
def test_broken_promise_is_named(slot, builder, words):
  check = getattr(testing, f'check_{slot}')
  with pytest.raises(testing.Broken) as caught:
    check(builder)
  message = str(caught.value)
  assert message.startswith(f'{slot} {builder.__name__}: '), message
  assert words in message, message


def test_failure_names_component_promise_and_what_came():
  error = testing.Broken('encoder mine', 'a promise', 'something else')
  assert str(error) == 'encoder mine: a promise: something else'
  parts = error.component, error.promise, error.came
  assert parts == ('encoder mine', 'a promise', 'something else')
