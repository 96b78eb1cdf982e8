"""Where a sequence takes its first carry and action from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.agent.context import begin, window
from dreamer_nnx.contracts import CONSEC

T = 3
CARRY = {'deter': np.float32([[0.1, 0.2], [0.3, 0.4]])}
LAST = {'move': np.int32([70, 80])}


class Dynamics:
  """Resumes from the sum of the entries of its context."""

  def __init__(self, context=1, dtype=np.float32):
    self.context, self.dtype = context, dtype

  def initial(self, batch_size):
    return {'deter': np.full((batch_size, 2), -7, self.dtype)}

  def resume(self, context):
    self.seen = context
    return {'deter': context.entry['deter'].sum(1).astype(self.dtype)}


def batch_of(context, consec=(0, 0)):
  """Every number tells its row and step: 10 · row + step."""
  steps = np.arange(context + T)[None] + 10 * np.arange(2)[:, None]
  return {
    'vector': steps[..., None].astype(np.float32),
    'is_first': steps % 2 == 0,
    'move': steps.astype(np.int32),
    'latent/deter': (100 + np.stack([steps, -steps], -1)).astype(np.float32),
    CONSEC: np.int32(consec),
  }


def apply(context, consec=(0, 0), dynamics=None):
  """Carry, actions before the steps, and the steps."""
  dynamics = dynamics or Dynamics()
  held = window(batch_of(context, consec), T, ['move'])
  size = dynamics.context if context else 0
  tokens = np.zeros((2, size, 4), np.float32) if size else None
  carry = begin(dynamics, held, CARRY, tokens)
  return carry, held.before(LAST), held.trained()


def test_without_context_the_carry_is_what_was_before():
  carry, before, steps = apply(0)
  np.testing.assert_array_equal(carry['deter'], CARRY['deter'])
  np.testing.assert_array_equal(before['move'], [[70, 0, 1], [80, 10, 11]])
  np.testing.assert_array_equal(steps['move'], [[0, 1, 2], [10, 11, 12]])


@pytest.mark.parametrize('context', [1, 2])
def test_the_last_context_step_gives_entry_and_action(context):
  carry, before, steps = apply(context)
  c = context
  expected = [[100 + c - 1, 100 - c + 1], [110 + c - 1, 90 - c + 1]]
  np.testing.assert_array_equal(carry['deter'], expected)
  first = np.array([[c - 1, c, c + 1]])
  np.testing.assert_array_equal(
    before['move'], np.concatenate([first, first + 10])
  )
  np.testing.assert_array_equal(steps['move'], before['move'] + 1)
  np.testing.assert_array_equal(steps['vector'][..., 0], before['move'] + 1)


def test_consecutive_rows_go_on_from_the_carry():
  carry, before, _ = apply(1, consec=(0, 2))
  expected = [[100, 100], CARRY['deter'][1]]
  np.testing.assert_array_equal(carry['deter'], expected)
  # The action is the one that replay holds, of the step before.
  np.testing.assert_array_equal(before['move'][:, 0], [0, 10])


@pytest.mark.parametrize('context', [1, 2])
def test_rows_without_entries_begin_from_nothing(context):
  carry, _, steps = apply(context, consec=(-1, 0))
  _, _, others = apply(context, consec=(2, 0))
  np.testing.assert_array_equal(carry['deter'][0], [-7, -7])
  assert (carry['deter'][1] > 0).all()
  # The first step that is trained on is that of an episode, and no other.
  whole = batch_of(context)['is_first'][:, -T:]
  forced = whole.copy()
  forced[0, 0] = True
  np.testing.assert_array_equal(steps['is_first'], forced)
  np.testing.assert_array_equal(others['is_first'], whole)


def test_without_context_rows_without_entries_are_marked_too():
  _, _, steps = apply(0, consec=(0, -1))
  np.testing.assert_array_equal(steps['is_first'][:, 0], [True, True])
  assert steps['is_first'].dtype == bool


def test_without_a_number_of_consecutive_batches_rows_resume():
  batch = batch_of(1)
  del batch[CONSEC]
  held = window(batch, T, ['move'])
  carry = begin(Dynamics(), held, CARRY, np.zeros((2, 1, 4)))
  np.testing.assert_array_equal(carry['deter'], [[100, 100], [110, 90]])


@pytest.mark.parametrize('context', [0, 1, 2])
def test_steps_hold_the_last_of_every_other_key(context):
  _, _, steps = apply(context)
  whole = batch_of(context)
  assert steps.keys() == {'vector', 'is_first', 'move'}
  for key, x in steps.items():
    np.testing.assert_array_equal(x, whole[key][:, -T:])


@pytest.mark.parametrize('context', [2, 4])
def test_dynamics_see_as_many_steps_of_the_context_as_they_need(context):
  dynamics = Dynamics(context=2)
  carry, _, _ = apply(context, dynamics=dynamics)
  # The last two before those that are trained on.
  steps = np.arange(context - 2, context) + 10 * np.arange(2)[:, None]
  seen = dynamics.seen
  entries = 100 + np.stack([steps, -steps], -1)
  np.testing.assert_array_equal(seen.entry['deter'], entries)
  np.testing.assert_array_equal(carry['deter'], entries.sum(1))
  np.testing.assert_array_equal(seen.is_first, steps % 2 == 0)
  assert seen.tokens.shape == (2, 2, 4)
  # Before the first step of the window no action is known.
  before = steps - 1
  before[:, 0] = 0 if context == 2 else before[:, 0]
  np.testing.assert_array_equal(seen.action['move'], before)


def test_entries_have_no_gradient():
  held = batch_of(1)

  def total(entry):
    row = window(held | {'latent/deter': entry}, T, ['move'])
    return begin(Dynamics(), row, CARRY, jnp.zeros((2, 1, 4)))['deter'].sum()

  slope = jax.grad(total)(jnp.asarray(held['latent/deter']))
  assert not slope.any()


def test_carries_come_in_the_format_of_the_dynamics():
  carry, _, _ = apply(1, (0, 2), Dynamics(dtype=np.float16))
  assert carry['deter'].dtype == np.float16


def test_a_window_of_too_few_steps_is_refused():
  with pytest.raises(ValueError, match='a window has 3 steps, not 4'):
    window(batch_of(0), T + 1, ['move'])
