"""Checks of dynamics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import checks, contracts
from dreamer_nnx.slots import DYNAMICS
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import (
  TOLERANCE,
  expect,
  expect_close,
  expect_equal,
  expect_finite,
  promising,
)
from dreamer_nnx.testing.live import (
  Live,
  abstractly,
  check_axes,
  check_gradients,
  check_round_trip,
  named,
  without_chance,
)

ROWS, LENGTH = toys.ROWS, toys.LENGTH
# The steps that are the first of an episode, in the two rows of a toy batch.
FIRST = (0, 3)
# The bytes of `starts`: times what carry and observed steps take together, or
# as a part of a carry for each step.
MOST_BYTES, SHARE = 4, 0.5
LONG = 64


def check_dynamics(
  component: toys.Component,
  *,
  action_space: toys.Spaces | None = None,
  frozen: tuple[str, ...] = (),
  tolerance: float = TOLERANCE,
  **fields: Any,
) -> None:
  """Checks dynamics. Draws are replaced by the mean or the likeliest.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.
    action_space: Actions to try it on; several toy ones without.
    frozen: Regular expressions of parameters that are not to have gradients.
    tolerance: Of what is computed in two ways.

  Raises:
    Broken: They do not keep a promise.
  """
  name = toys.title(DYNAMICS, component)
  choice = toys.choice(DYNAMICS, component, fields)
  every = {'given': action_space} if action_space else toys.ACTIONS
  with promising(name):
    for space, precision in toys.settings(every):

      def build(space=space, precision=precision):
        dynamics = _build(choice, space, precision)
        dtype = precision.compute_dtype
        args = toys.TOKENS, space, dtype, choice.path
        checks.check_dynamics(dynamics, *args)
        _check_bytes(name, dynamics, space)

      abstractly(build)
    space = list(every.values())[-1]
    live = Live(lambda: _build(choice, space, toys.FLOAT32))
  check_axes(name, live)
  with without_chance():
    _check_values(name, live, space, tolerance)
    gradients, _ = live.gradients(_loss, _batch(space, 0))
  check_gradients(name, gradients, frozen)
  batch = _batch(space, 0)
  first = named(check_round_trip(name, live, _one_step, batch))
  again = named(live.call(_one_step, batch))
  expect_equal(name, again, first, 'the same key draws the same step')


def _build(choice, space, precision) -> contracts.Dynamics:
  given = dict(token_size=toys.TOKENS, action_space=space)
  return toys.build(choice, precision=precision, **given)


def _batch(space: toys.Spaces, seed: int, length: int = LENGTH) -> dict:
  """Draws tokens and actions (B, T, ...)."""
  lead = (ROWS, length)
  is_first = np.zeros(lead, bool)
  for row, step in enumerate(FIRST):
    is_first[row, step] = True
  return {
    'tokens': toys.floats((*lead, toys.TOKENS), seed),
    'action': toys.values(space, lead, seed),
    'is_first': jnp.asarray(is_first),
  }


def _key() -> jax.Array:
  return jax.random.key(0)


def _at(batch: dict, t: int) -> list:
  names = ('tokens', 'action', 'is_first')
  return [jax.tree.map(lambda x: x[:, t], batch[name]) for name in names]


def _observe(dynamics, carry, batch):
  names = ('tokens', 'action', 'is_first')
  return dynamics.observe(carry, *(batch[n] for n in names), _key())


def _used_carry(dynamics, batch):
  """A carry after some steps, other than that of the beginning."""
  batch = batch | {'tokens': batch['tokens'][:, ::-1] + 1}
  return _observe(dynamics, dynamics.initial(ROWS), batch)[0]


def _check_values(name, live: Live, space, tolerance) -> None:
  batch, other = _batch(space, 0), _batch(space, 1)
  close = lambda got, want, promise: expect_close(
    name, named(got), named(want), promise, tolerance
  )
  result = live.call(_ways, batch, other)
  expect_finite(name, named(result['observed']), 'features')
  promise = f'`observe` equals `step` after `step` to {tolerance}'
  close(result['stepped'], result['observed'], promise)
  promise = 'nothing before `is_first` matters'
  for row, step in enumerate(FIRST):
    after = lambda tree, row=row, step=step: jax.tree.map(
      lambda x: x[row, step:], tree
    )
    close(after(result['reset']), after(result['observed']), promise)
  before = lambda tree: jax.tree.map(lambda x: x[:, : LENGTH - 1], tree)
  promise = 'a token changes no features before it'
  close(before(result['later']), before(result['observed']), promise)
  promise = '`predict` from `starts` equals that from the carry of the step'
  close(result['started'], result['predicted'], promise)
  # (B, T, ...) of the last two steps.
  last = jax.tree.map(lambda x: x[:, -2:], result['predicted'])
  close(result['last'], last, '`starts` has the last `count` steps of each row')
  if 'resumed' in result:
    promise = '`resume` goes on from stored steps as if they were observed'
    close(result['resumed'], result['continued'], promise)


def _ways(dynamics, batch, other) -> dict[str, Any]:
  """Computes the same features in different ways."""
  carry = _used_carry(dynamics, batch)
  _, observed = _observe(dynamics, carry, batch)
  stepped, predicted = _stepwise(dynamics, carry, batch, other['action'])
  reset = _observe(dynamics, dynamics.initial(ROWS), _changed(batch, other))
  tokens = batch['tokens'].at[:, -1].set(other['tokens'][:, -1])
  later = _observe(dynamics, carry, batch | {'tokens': tokens})
  result = {
    'observed': observed.feat,
    'stepped': stepped,
    'predicted': predicted,
    'reset': reset[1].feat,
    'later': later[1].feat,
  }
  result |= _started(dynamics, carry, observed, other['action'])
  return result | _resumptions(dynamics, batch, other)


def _stepwise(dynamics, carry, batch, action) -> tuple[Any, Any]:
  """Features step by step, and those predicted from each of them."""

  def body(carry, inputs):
    given, action = inputs
    carry, seen = dynamics.step(carry, *given, _key())
    return carry, (seen.feat, dynamics.predict(carry, action, _key())[1])

  names = ('tokens', 'action', 'is_first')
  # (B, T, ...) to (T, B, ...), and back.
  swap = lambda tree: jax.tree.map(lambda x: x.swapaxes(0, 1), tree)
  inputs = swap(([batch[name] for name in names], action))
  return swap(jax.lax.scan(body, carry, inputs)[1])


def _changed(batch, other) -> dict:
  """The batch, with other inputs before each first step."""
  times = np.arange(LENGTH)
  steps = np.asarray(FIRST)[:, None]

  def pick(before):
    def of(x, y):
      mask = before.reshape(*before.shape, *[1] * (x.ndim - 2))
      return jnp.where(mask, y, x)

    return of

  # The action at a first step is that before it.
  tokens = pick(times < steps)(batch['tokens'], other['tokens'])
  action = jax.tree.map(pick(times <= steps), batch['action'], other['action'])
  return batch | {'tokens': tokens, 'action': action}


def _started(dynamics, carry, observed, action) -> dict[str, Any]:
  """One step without tokens after each observed one, by `starts`."""

  def started(count):
    # (B, T, ...) to (B K, ...), and back.
    flat = lambda x: x[:, -count:].reshape(ROWS * count, *x.shape[2:])
    starts = dynamics.starts(carry, observed, count)
    feat = dynamics.predict(starts, jax.tree.map(flat, action), _key())[1]
    return jax.tree.map(lambda x: x.reshape(ROWS, count, -1), feat)

  return {'started': started(LENGTH), 'last': started(2)}


def _resumptions(dynamics, batch, other) -> dict[str, Any]:
  """The step after a context, observed and resumed."""
  count = dynamics.context
  if not count:
    return {}
  repeat = -(-count // LENGTH)
  long = lambda x: jnp.concatenate([x] * repeat, 1)[:, :count]
  steps = {k: jax.tree.map(long, batch[k]) for k in ('tokens', 'action')}
  steps['is_first'] = jnp.zeros((ROWS, count), bool).at[:, 0].set(True)
  end, observed = _observe(dynamics, dynamics.initial(ROWS), steps)
  # The action before the first step of a context is not known.
  action = jax.tree.map(lambda x: x.at[:, 0].set(0), steps['action'])
  resumed = dynamics.resume(
    contracts.Context(
      steps['tokens'], action, steps['is_first'], observed.entry
    )
  )
  now = _at(other | {'is_first': jnp.zeros((ROWS, LENGTH), bool)}, 0)
  step = lambda carry: dynamics.step(carry, *now, _key())[1].feat
  return {'resumed': step(resumed), 'continued': step(end)}


def _loss(dynamics, batch):
  """A scalar of all that dynamics compute."""
  carry = dynamics.initial(ROWS)
  _, observed = _observe(dynamics, carry, batch)
  losses, _ = dynamics.losses(observed)
  count = LENGTH - 1
  flat = lambda x: x[:, 1:].reshape(ROWS * count, *x.shape[2:])
  starts = dynamics.starts(carry, observed, count)
  action = jax.tree.map(flat, batch['action'])
  _, feat = dynamics.predict(starts, action, _key())
  return toys.functional([losses, observed.feat, feat]), ()


def _one_step(dynamics, batch):
  carry, seen = dynamics.step(dynamics.initial(ROWS), *_at(batch, 1), _key())
  return {'carry': carry, 'feat': seen.feat, 'entry': seen.entry}


def _check_bytes(name: str, dynamics, space) -> None:
  """Checks that `starts` makes no copy of a window for each step."""

  def sizes():
    carry = dynamics.initial(ROWS)
    _, observed = _observe(dynamics, carry, _batch(space, 0, LONG))
    starts = dynamics.starts(carry, observed, LONG)
    return [carry, observed], starts

  given, starts = jax.eval_shape(sizes)
  taken, copies = _bytes(starts), LONG * _bytes(given[0])
  most = max(MOST_BYTES * _bytes(given), SHARE * copies)
  promise = '`starts` makes no copy of a long carry for each step'
  text = f'{taken} bytes for {LONG} steps, {most:.0f} at most'
  expect(name, taken <= most, promise, text)


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
