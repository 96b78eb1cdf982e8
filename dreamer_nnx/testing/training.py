"""Checks of normalisers and optimisers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import checks
from dreamer_nnx.nn.statistics import normalizer as made
from dreamer_nnx.slots import NORMALIZER, OPTIMIZER
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import (
  expect,
  expect_equal,
  expect_finite,
  promising,
)
from dreamer_nnx.testing.live import (
  Live,
  abstractly,
  check_round_trip,
  named,
)

UPDATES = 20


def check_normalizer(component: toys.Component, **fields: Any) -> None:
  """Checks a normaliser.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(NORMALIZER, component)
  choice = toys.choice(NORMALIZER, component, fields)
  with promising(name):
    abstractly(lambda: checks.check_normalizer(made(choice), choice.path))
    live = Live(lambda: made(choice))
  promise = 'statistics are trained by no gradient, so in no nnx.Param'
  expect(name, not live.params, promise, ', '.join(live.params))
  x = 100 + 10 * toys.floats((8, 9), 0)

  def learn(normalizer, x):
    before = normalizer.stats()
    for _ in range(UPDATES):
      normalizer.update(x)
    return {'before': before, 'after': normalizer.stats()}

  def learned(normalizer, x):
    learn(normalizer, x)
    return live.arrays_of(normalizer)

  result = live.call(learn, x)
  expect_finite(name, named(result), 'offset and scale')
  for when in ('before', 'after'):
    scale = np.asarray(result[when][1])
    expect(name, scale > 0, 'the scale is positive', f'{scale} {when} updates')
  if live.arrays:
    arrays = live.call(learned, x)
    same = [np.array_equal(arrays[k], x) for k, x in live.arrays.items()]
    expect(name, not all(same), '`update` learns', 'all arrays stay')
    changed = np.any(
      np.asarray(result['before']) != np.asarray(result['after'])
    )
    expect(name, changed, '`update` changes `stats`')
  check_round_trip(name, live, lambda normalizer, x: normalizer.stats(), x)


def check_optimizer(component: toys.Component, **fields: Any) -> None:
  """Checks an optimiser.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(OPTIMIZER, component)
  choice = toys.choice(OPTIMIZER, component, fields)
  with promising(name):
    build = lambda: toys.build(choice)
    abstractly(lambda: checks.check_optimizer(build(), {}, choice.path))
    optimizer = build()
  params = {
    'layer/bias': toys.floats((3,), 0),
    'layer/kernel': toys.floats((2, 3), 1),
  }
  changes, state = _descend(optimizer, params)
  expect_finite(name, named(changes), 'updates')
  for key, change in changes.items():
    promise = f'{UPDATES} updates change each parameter'
    expect(name, np.any(change), promise, f'{key} stays')
  # Down the slope of the squares of the parameters.
  work = sum(np.vdot(changes[k], params[k]) for k in params)
  expect(name, work < 0, 'updates go against the gradients')
  leaves = named(state)
  promise = 'the state is arrays, with a name each'
  arrays = all(hasattr(x, 'shape') for x in leaves.values())
  expect(name, arrays and len(leaves) == len(jax.tree.leaves(state)), promise)
  again = _descend(optimizer, params)
  promise = 'the same gradients make the same updates'
  expect_equal(name, named(again), named((changes, state)), promise)
  if toys.takes(choice, 'lr'):
    still, _ = _descend(toys.build(choice.replace(lr=0.0)), params)
    for key, change in still.items():
      promise = 'a learning rate of 0 changes nothing'
      expect(name, not np.any(change), promise, f'{key} changes')


def _descend(optimizer: Any, params: dict) -> tuple[dict, Any]:
  """Sums the updates along the gradients of squares; returns the state too."""

  def step(carry, _):
    params, state, total = carry
    changes, state = optimizer.update(params, state, params)
    add = lambda x, y: x + y
    new = jax.tree.map(add, params, changes)
    return (new, state, jax.tree.map(add, total, changes)), ()

  def descend(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    carry = params, optimizer.init(params), zeros
    (_, state, total), _ = jax.lax.scan(step, carry, length=UPDATES)
    return total, state

  live = Live(lambda: None)
  return live.call(lambda _, params: descend(params), params)
