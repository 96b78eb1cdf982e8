"""Refusal of normalisers whose statistics training would not keep.

Between updates the arrays in Variables are kept, and those in Params are
changed by gradients alone. Anything else that `update` changes is lost.
"""

import inspect
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice

REMEDY = (
  'so it would never learn. Hold it in a Variable of a class of its own, '
  '`class Statistic(nnx.Variable): ...` and `self.{0} = '
  'Statistic(jnp.zeros(()))`, in an nnx.Module.'
)
# Values that are compared by what they are.
PLAIN = (bool, int, float, bytes, str)


class Holder(nnx.Module):
  """A module that has a normaliser, as the agent has."""

  def __init__(self, normalizer: contracts.Normalizer):
    self.normalizer = normalizer


def normalizer(choice: Choice) -> contracts.Normalizer:
  """Builds a normaliser, after a look at what its `update` changes.

  Raises:
    UserError: It changes what is not kept.
  """
  problems = []

  def look(x):
    problems.append(_problem(choice(), x))

  jax.eval_shape(look, jax.ShapeDtypeStruct((2, 3), jnp.float32))
  if problems[-1]:
    raise UserError(problems[-1], choice.path)
  return choice()


def _problem(normalizer: contracts.Normalizer, x: jax.Array) -> str:
  """Names what a Variable cannot hold or `update` would lose; '' if nothing."""
  kept = [
    value
    for _, value in nnx.iter_graph(Holder(normalizer))
    if isinstance(value, nnx.Variable)
  ]
  for path, (holder, value) in _snapshot(normalizer).items():
    if isinstance(holder, nnx.Variable) and not hasattr(value, 'shape'):
      return f'the Variable `{path}` has to begin with an array, not {value!r}.'
  # Values that the first update caches are no statistics.
  normalizer.update(x)
  before = _snapshot(normalizer)
  normalizer.update(x)
  after = _snapshot(normalizer)
  for path in sorted(before.keys() | after.keys()):
    (_, old), (holder, new) = before.get(path, (0, 0)), after.get(path, (0, 0))
    first = path.split('.')[0]
    if old is new or (type(old) is type(new) in PLAIN and old == new):
      continue
    if isinstance(holder, nnx.Param):
      what = f'`update` changes the Param `{path}`, which gradients train, '
      return what + REMEDY.format(first)
    if not any(holder is variable for variable in kept):
      what = f'`update` changes `{path}`, which is no part of the state, '
      return what + REMEDY.format(first)
  return ''


def _snapshot(normalizer: Any) -> dict[str, tuple[Any, Any]]:
  """Lists attributes by path: the Variable or the value; and the value."""
  return {
    path.removeprefix('.'): (
      x,
      _value(x),
    )
    for path, x in _attributes(normalizer, '', frozenset())
  }


def _value(x: Any) -> Any:
  if isinstance(x, nnx.Variable):
    return x.get_value()
  # An array of NumPy may change and be the same object.
  return x.tobytes() if isinstance(x, np.ndarray) else x


def _attributes(
  x: Any, path: str, above: frozenset[int]
) -> Iterator[tuple[str, Any]]:
  inside = {} if id(x) in above else _inside(x)
  if not inside:
    yield path, x
  for name, value in inside.items():
    yield from _attributes(value, f'{path}.{name}', above | {id(x)})


def _inside(x: Any) -> Mapping[Any, Any]:
  """Lists what an object is made of, by name; nothing of a single value."""
  if isinstance(x, nnx.Variable | jax.Array | type) or inspect.isroutine(x):
    return {}
  if isinstance(x, Mapping):
    return x
  if isinstance(x, list | tuple | deque):
    return dict(enumerate(x))
  names = getattr(x, '__dict__', {})
  return {k: v for k, v in names.items() if not k.startswith('_pytree__')}
