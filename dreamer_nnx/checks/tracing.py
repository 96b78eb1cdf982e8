"""Traces of components, and what is expected of their results.

A result that is not as promised raises a UserError of one form:

  config.encoder.mine: tokens of (2,) observations: promised (2, 8) of floats,
  got (2, 16) float32.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space

# Unequal, so that axes in another order are seen.
ROWS, LENGTH = 2, 3
FLOATS = 'floats'
Shape = tuple[int, ...]
Struct = jax.ShapeDtypeStruct


def traced(path: str, what: str, function: Callable, *args: Any) -> Any:
  """Traces `function` and returns the shapes of its result.

  Inside of another trace, too; `args` are arrays or their shapes.

  Raises:
    UserError: As the function raises, with the path of the component.
    Exception: Any other that it raises, with a note that names the component.
  """
  try:
    return jax.eval_shape(function, *shapes(args))
  except UserError as error:
    error.within(path)
    raise
  except Exception as error:
    error.add_note(f'while checking {path}: {what}')
    raise


def shapes(tree: Any) -> Any:
  """The shape and format of every leaf."""
  shape = lambda x: Struct(jnp.shape(x), _dtype(x))
  return jax.tree.map(shape, tree)


def _dtype(x: Any) -> Any:
  return x.dtype if hasattr(x, 'dtype') else jnp.result_type(x)


def copied(component: Any) -> Any:
  """A component to call inside a trace: what it changes of itself is lost."""
  return (
    nnx.clone(component) if isinstance(component, nnx.Module) else component
  )


def inputs(space: Mapping[str, Space], lead: Shape) -> dict:
  """Shapes and formats of values of the spaces, behind leading axes."""
  return {
    key: Struct((*lead, *s.shape), spaces.data_type(s))
    for key, s in space.items()
  }


def floats(shape: Shape, dtype: Any = jnp.float32) -> Struct:
  return Struct(shape, dtype)


def flags(shape: Shape) -> Struct:
  return Struct(shape, jnp.bool_)


def a_key() -> jax.Array:
  return jax.random.key(0)


def refuse(what: str, promise: str, got: Any, path: str = '') -> None:
  told(what, promise, described(got), path)


def told(what: str, promise: str, came: str, path: str = '') -> None:
  raise UserError(f'{what}: promised {promise}, got {came}.', path)


def described(x: Any) -> str:
  """`(2, 3) float32` of an array; the kind of anything else."""
  if hasattr(x, 'shape') and hasattr(x, 'dtype'):
    return f'{tuple(x.shape)} {x.dtype}'
  if isinstance(x, Mapping):
    keys = ', '.join(map(str, sorted(x, key=str)))
    return f'the keys {keys}' if keys else 'no keys'
  if isinstance(x, tuple | list):
    return f'a {type(x).__name__} of {len(x)}'
  if isinstance(x, bool | int | float | str | None):
    return repr(x)
  return f'a {type(x).__name__}'


def expect_array(
  x: Any, shape: Shape, dtype: Any, what: str, path: str = ''
) -> None:
  """Refuses all but an array of this shape and format.

  Args:
    dtype: `FLOATS` for any float format; None for any at all.
  """
  shape = tuple(shape)
  if dtype is FLOATS:
    promise, fits = f'{shape} of floats', _is_float
  elif dtype is None:
    promise, fits = f'{shape}', lambda _: True
  else:
    dtype = np.dtype(dtype)
    promise, fits = f'{shape} {dtype}', lambda x: x.dtype == dtype
  # A number is an array without axes.
  array = jnp.asarray(x) if isinstance(x, float | int) and not shape else x
  if not hasattr(array, 'shape') or not hasattr(array, 'dtype'):
    refuse(what, promise, x, path)
  if tuple(array.shape) != shape or not fits(array):
    refuse(what, promise, array, path)


def _is_float(x: Any) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)


def expect_dict(x: Any, what: str, path: str = '') -> None:
  if not isinstance(x, Mapping):
    refuse(what, 'a dict by name', x, path)


def expect_keys(x: Any, keys: Any, what: str, path: str = '') -> None:
  """Refuses all but a dict of exactly these keys."""
  expect_dict(x, what, path)
  if set(x) != set(keys):
    refuse(what, described(dict.fromkeys(keys)), x, path)


def expect_tuple(x: Any, parts: str, what: str, path: str = '') -> None:
  """Refuses all but a tuple of so many parts as are named, `carry, feat`."""
  if type(x) is not tuple or len(x) != parts.count(',') + 1:
    refuse(what, f'the tuple ({parts})', x, path)


def expect_rows(tree: Any, lead: Shape, what: str, path: str = '') -> None:
  """Refuses leaves that are no arrays with these leading axes."""
  for name, leaf in named_leaves(tree):
    shape = getattr(leaf, 'shape', None)
    if shape is None or tuple(shape[: len(lead)]) != lead:
      axes = ', '.join(map(str, lead))
      refuse(f'{what}{name}', f'an array ({axes}, ...)', leaf, path)


def expect_alike(
  new: Any, old: Any, what: str, promise: str, path: str = ''
) -> None:
  """Refuses a pytree of another structure, or other shapes or formats.

  Args:
    promise: Names `old`.
  """
  if jax.tree.structure(new) != jax.tree.structure(old):
    structure = f'the structure of {promise}, {jax.tree.structure(old)}'
    told(what, structure, f'{jax.tree.structure(new)}', path)
  for (name, a), (_, b) in zip(
    named_leaves(new), named_leaves(old), strict=True
  ):
    if jnp.shape(a) != jnp.shape(b) or _dtype(a) != _dtype(b):
      a, b = shapes((a, b))
      refuse(f'{what}{name}', f'{described(b)} as {promise}', a, path)


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
  """Leaves, each with its place: `['deter']`."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def expect_metrics(x: Any, what: str, path: str = '') -> None:
  """Refuses all but a dict of single numbers."""
  expect_dict(x, f'metrics of {what}', path)
  for name, value in x.items():
    expect_array(value, (), None, f'metric {name!r} of {what}', path)


def expect_losses(
  x: Any, allowed: tuple[Shape, ...], what: str, path: str = ''
) -> None:
  """Refuses all but a dict of float arrays of one of the allowed shapes.

  Args:
    allowed: Empty for any shape.
  """
  expect_dict(x, f'losses of {what}', path)
  for name, value in x.items():
    shape = jnp.shape(value) if hasattr(value, 'dtype') else ()
    fits = shape in allowed or not allowed
    promise = shape if fits else allowed[0]
    expect_array(value, promise, FLOATS, f'loss {name!r} of {what}', path)
