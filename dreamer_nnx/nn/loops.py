"""A scan that does outside the loop what need not be done at every step."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
# What `product` calls instead of multiplying, while a `scan` traces its body.
_MULTIPLY: contextvars.ContextVar[Callable | None] = contextvars.ContextVar(
  'multiply', default=None
)


@dataclasses.dataclass(frozen=True)
class Kernel:
  """A parameter, what is made of it before the loop, and how to multiply."""

  array: Array
  prepare: Callable[[Array], Any]
  multiply: Callable[[Array, Any], Array]

  def __call__(self, x: Array, array: Array) -> Array:
    return self.multiply(x, self.prepare(array))


def product(
  x: Array,
  array: Array,
  prepare: Callable[[Array], Any],
  multiply: Callable[[Array, Any], Array],
) -> Array:
  """multiply(x, prepare(array)); `scan` prepares once for all steps.

  Args:
    x: (..., I).
    array: A parameter, from outside the loop.
    prepare, multiply: Linear in the array; `multiply` treats all leading axes
      of x alike.
  """
  kernel = Kernel(array, prepare, multiply)
  current = _MULTIPLY.get()
  return current(x, kernel) if current else kernel(x, array)


def scan(body: Callable, carry: Any, xs: Any) -> tuple[Any, Any]:
  """`jax.lax.scan`, for bodies that multiply by parameters.

  Every `product` of the body is prepared once. The gradients to its parameters
  are made after the backward loop, from the inputs and the gradients of all T
  steps at once: one large product instead of T small ones, each of which would
  read and write a gradient as large as the parameter.

  Args:
    body: (carry, x) to (carry, y), without effects.
    carry: Before the first step.
    xs: Arrays with a leading axis of T.
  """
  kernels, taps = _find_products(body, carry, jax.tree.map(lambda x: x[0], xs))
  length = len(jax.tree.leaves(xs)[0])
  step = _instrumented(body, kernels)
  ready = _prepare(kernels, [kernel.array for kernel in kernels])
  step, closed = jax.closure_convert(
    step, carry, jax.tree.map(lambda x: x[0], xs), ready, taps
  )

  def loop(carry, xs, taps, ready, closed):
    inner = lambda carry, x: step(carry, x[0], ready, x[1], *closed)
    carry, (ys, inputs) = jax.lax.scan(inner, carry, (xs, taps))
    return (carry, ys), inputs

  stacked = [jnp.zeros((length, *tap.shape), tap.dtype) for tap in taps]

  @jax.custom_vjp
  def run(arrays, carry, xs, closed):
    return loop(carry, xs, stacked, _prepare(kernels, arrays), closed)[0]

  def forward(arrays, carry, xs, closed):
    ready = _prepare(kernels, arrays)
    result, pull, inputs = jax.vjp(
      lambda carry, xs, taps, closed: loop(carry, xs, taps, ready, closed),
      carry,
      xs,
      stacked,
      closed,
      has_aux=True,
    )
    return result, (pull, inputs, arrays)

  def backward(remembered, cotangent):
    pull, inputs, arrays = remembered
    carry, xs, taps, closed = pull(cotangent)
    grads = [
      jax.vjp(lambda array, k=k, x=x: k(x, array), array)[1](tap)[0]
      for k, x, array, tap in zip(kernels, inputs, arrays, taps, strict=True)
    ]
    return grads, carry, xs, closed

  run.defvjp(forward, backward)
  return run([kernel.array for kernel in kernels], carry, xs, closed)


def _find_products(body, carry, x) -> tuple[list[Kernel], list[Array]]:
  """The kernels of a body in order, and zeros like their products."""
  kernels, shapes = [], []

  def multiply(x, kernel):
    y = kernel(x, kernel.array)
    kernels.append(kernel)
    shapes.append(jax.ShapeDtypeStruct(y.shape, y.dtype))
    return y

  with _multiplying(multiply):
    jax.eval_shape(body, carry, x)
  return kernels, [jnp.zeros(x.shape, x.dtype) for x in shapes]


def _instrumented(body, kernels) -> Callable:
  """The body with prepared kernels, taps added, and its inputs as outputs."""

  def step(carry, x, ready, taps):
    inputs = []

    def multiply(x, _):
      index = len(inputs)
      inputs.append(x)
      return kernels[index].multiply(x, ready[index]) + taps[index]

    with _multiplying(multiply):
      carry, y = body(carry, x)
    return carry, (y, inputs)

  return step


def _prepare(kernels: list[Kernel], arrays: list[Array]) -> list:
  """What is made of the kernels, as values that stay outside the loop."""
  pairs = zip(kernels, arrays, strict=True)
  return jax.lax.optimization_barrier([k.prepare(array) for k, array in pairs])


@contextlib.contextmanager
def _multiplying(multiply: Callable) -> Iterator[None]:
  token = _MULTIPLY.set(multiply)
  try:
    yield
  finally:
    _MULTIPLY.reset(token)
