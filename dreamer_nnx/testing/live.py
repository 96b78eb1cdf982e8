"""Components as functions of their arrays: calls and gradients, compiled.

Checks of parameters: named axes, gradients, a round trip through NumPy.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx.numerics import sampling
from dreamer_nnx.testing.broken import (
  expect,
  expect_close,
  expect_finite,
  matches,
)

FAST_COMPILE = {'xla_backend_optimization_level': 0}


class Live:
  """A component, and its arrays by name.

  Args:
    build: Makes an NNX module, or an object without arrays.
    prefix: Parameters with other names are random numbers, and not what the
      component has at first: drawing those takes longer to compile.

  Attributes:
    abstract: The component without values.
  """

  def __init__(self, build: Callable[[], Any], prefix: str = ''):
    self.arrays: dict[str, jax.Array] = {}
    self.params: tuple[str, ...] = ()
    self.axes: dict[str, Any] = {}
    made = []
    abstractly(lambda: made.append(build()))
    if not isinstance(made[0], nnx.Module):
      self.abstract = build()
      return
    self.abstract = nnx.eval_shape(build)
    self._graphdef, state = nnx.split(self.abstract)
    flat = nnx.to_flat_state(state)
    self._paths = {'/'.join(map(str, path)): path for path, _ in flat}
    named = list(zip(self._paths, (v for _, v in flat), strict=True))
    self.params = tuple(n for n, v in named if isinstance(v, nnx.Param))
    self.axes = {n: v.get_metadata().get('axes') for n, v in named}
    other = [n for n in self.params if not n.startswith(prefix)]
    first = lambda: {
      k: x for k, x in self.arrays_of(build()).items() if k not in other
    }
    initial = compiled(first)()
    for i, (name, variable) in enumerate(named):
      given = initial.get(name)
      self.arrays[name] = _random(variable, i) if given is None else given

  def merged(self, arrays: dict[str, jax.Array]) -> Any:
    """The component with these arrays."""
    if not self.arrays:
      return self.abstract
    leaves = [(path, arrays[name]) for name, path in self._paths.items()]
    return nnx.merge(self._graphdef, nnx.from_flat_state(leaves))

  def arrays_of(self, component: Any) -> dict[str, jax.Array]:
    """The arrays of a component that was merged, after a call."""
    if not isinstance(component, nnx.Module):
      return {}
    flat = nnx.to_flat_state(nnx.state(component))
    return {'/'.join(map(str, path)): v[...] for path, v in flat}

  def compiled(self, function: Callable) -> Callable:
    """Compiles `function(component, *args)`; arrays are returned as NumPy's."""
    jitted = compiled(lambda arrays, *a: function(self.merged(arrays), *a))
    return lambda *args: jax.device_get(jitted(self.arrays, *args))

  def call(self, function: Callable, *args: Any) -> Any:
    """Traces, compiles and calls `function(component, *args)`."""
    return self.compiled(function)(*args)

  def gradients(
    self, function: Callable, *args: Any
  ) -> tuple[dict[str, np.ndarray], Any]:
    """Gradients by name of `function(component, *args)`, and its result.

    The parameters are moved a little, for where a kernel is 0 at first no
    gradient goes through it.

    Args:
      function: Returns a scalar and anything else.
    """
    params = {name: self.arrays[name] for name in self.params}
    rest = {k: x for k, x in self.arrays.items() if k not in params}

    def run(params, *args):
      moved = {k: _moved(x, i) for i, (k, x) in enumerate(params.items())}
      loss, result = function(self.merged(moved | rest), *args)
      return loss.astype(jnp.float32), result

    jitted = jax.jit(jax.grad(run, has_aux=True), compiler_options=FAST_COMPILE)
    return jax.device_get(jitted(params, *args))


def compiled(function: Callable) -> Callable:
  """Compiles a function in little time, for few calls."""
  return jax.jit(function, compiler_options=FAST_COMPILE)


def slopes(function: Callable, *args: Any) -> tuple[Any, ...]:
  """Gradients of a scalar function, by each of its arguments."""
  return jax.grad(function, tuple(range(len(args))))(*args)


def program_of(make: Callable[[], nnx.Module], function: Callable) -> str:
  """The text of a program: `function(module, ...)` of a module without values.

  Args:
    function: Returns the arrays to compute.
  """
  abstract = nnx.eval_shape(make)
  graphdef, state = nnx.split(abstract)
  run = lambda state: function(nnx.merge(graphdef, state))
  # Functions in it are shown with their place in memory.
  return re.sub(r'0x[0-9a-f]+', '', str(jax.make_jaxpr(run)(state)))


def _random(variable: nnx.Variable, seed: int) -> np.ndarray:
  """Draws numbers of the size that a layer's have."""
  rng = np.random.default_rng(seed)
  rows = variable.shape[-2] if len(variable.shape) > 1 else 1
  x = rng.normal(size=variable.shape) / np.sqrt(rows)
  return jnp.asarray(x, variable.dtype)


def _moved(x: jax.Array, number: int) -> jax.Array:
  noise = jax.random.normal(jax.random.key(number), x.shape, x.dtype)
  return x + 0.1 * noise


def check_axes(component: str, live: Live) -> None:
  """Checks that each parameter names each of its axes."""
  for name in live.params:
    axes, shape = live.axes[name], live.arrays[name].shape
    expect(
      component,
      axes is not None and len(axes) == len(shape),
      'each axis of a parameter has a name, `nnx.Param(..., axes=(...))`',
      f'{name} {shape} has {axes}',
    )


def check_gradients(
  component: str, gradients: dict[str, np.ndarray], frozen: tuple[str, ...]
) -> None:
  """Checks that each parameter is trained, but those of the patterns."""
  expect_finite(component, gradients, 'gradients')
  for name, gradient in gradients.items():
    if not matches(frozen, name):
      promise = 'each parameter has a gradient'
      expect(component, gradient.any(), promise, f'that of {name} is 0')


def check_round_trip(
  component: str, live: Live, function: Callable, *args: Any
) -> Any:
  """Checks that the arrays, saved by name, make the same component.

  Returns:
    The result of `function(component, *args)`.
  """
  call = live.compiled(function)
  before = call(*args)
  kept = {name: np.asarray(x) for name, x in live.arrays.items()}
  live.arrays = {name: jnp.asarray(x) for name, x in kept.items()}
  after = call(*args)
  promise = 'arrays restored by name compute the same'
  expect_close(component, named(after), named(before), promise, 0.0)
  return before


def named(tree: Any) -> dict[str, Any]:
  """Leaves of a pytree by their place."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


@contextlib.contextmanager
def without_chance() -> Iterator[None]:
  """Makes draws of `numerics.sampling` take the mean or the likeliest."""
  normal = lambda key, mean, std: mean
  categorical = lambda key, probs: jnp.argmax(probs, -1)
  with (
    mock.patch.object(sampling, 'normal', normal),
    mock.patch.object(sampling, 'categorical', categorical),
  ):
    yield


def abstractly(function: Callable[[], None]) -> None:
  """Runs what builds and traces, without computing anything."""
  jax.eval_shape(lambda: function() and None)
