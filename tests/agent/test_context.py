"""Where a sequence takes its first latent and action from."""

import numpy as np
import pytest

from dreamer_nnx.agent.context import apply_context
from dreamer_nnx.contracts import CONSEC

T = 3
CARRY = {
  'latent': {'deter': np.float32([[0.1, 0.2], [0.3, 0.4]])},
  'action': {'move': np.int32([70, 80])},
}


def window(context, consec=(0, 0)):
  """Every number tells its row and step: 10 · row + step."""
  steps = np.arange(context + T)[None] + 10 * np.arange(2)[:, None]
  return {
    'vector': steps[..., None].astype(np.float32),
    'is_first': steps % 2 == 0,
    'move': steps.astype(np.int32),
    'latent/deter': (100 + np.stack([steps, -steps], -1)).astype(np.float32),
    CONSEC: np.int32(consec),
  }


def apply(context, consec=(0, 0)):
  return apply_context(CARRY, window(context, consec), T, ['move'])


def test_without_context_the_carry_is_what_was_before():
  latent, before, steps = apply(0)
  np.testing.assert_array_equal(latent['deter'], CARRY['latent']['deter'])
  np.testing.assert_array_equal(before['move'], [[70, 0, 1], [80, 10, 11]])
  np.testing.assert_array_equal(steps['move'], [[0, 1, 2], [10, 11, 12]])


@pytest.mark.parametrize('context', [1, 2])
def test_the_last_context_step_gives_latent_and_action(context):
  latent, before, steps = apply(context)
  c = context
  expected = [[100 + c - 1, 100 - c + 1], [110 + c - 1, 90 - c + 1]]
  np.testing.assert_array_equal(latent['deter'], expected)
  first = np.array([[c - 1, c, c + 1]])
  np.testing.assert_array_equal(
    before['move'], np.concatenate([first, first + 10])
  )
  np.testing.assert_array_equal(steps['move'], before['move'] + 1)
  np.testing.assert_array_equal(steps['vector'][..., 0], before['move'] + 1)


def test_consecutive_rows_go_on_from_the_carry():
  latent, before, _ = apply(1, consec=(0, 2))
  expected = [[100, 100], CARRY['latent']['deter'][1]]
  np.testing.assert_array_equal(latent['deter'], expected)
  # The action is the one that replay holds, of the step before.
  np.testing.assert_array_equal(before['move'][:, 0], [0, 10])


@pytest.mark.parametrize('context', [0, 1, 2])
def test_steps_hold_the_last_of_every_other_key(context):
  _, _, steps = apply(context)
  whole = window(context)
  assert steps.keys() == {'vector', 'is_first', 'move'}
  for key, x in steps.items():
    np.testing.assert_array_equal(x, whole[key][:, -T:])


def test_latents_come_in_the_format_of_the_carry():
  carry = {
    'latent': {'deter': np.zeros((2, 2), np.float16)},
    'action': CARRY['action'],
  }
  latent, _, _ = apply_context(carry, window(1), T, ['move'])
  assert latent['deter'].dtype == np.float16
