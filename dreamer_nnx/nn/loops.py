"""A scan that does outside the loop what need not be done at every step."""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
# Called by `product` instead of multiplying, while a `scan` traces its body.
_MULTIPLY: contextvars.ContextVar[Callable | None] = contextvars.ContextVar(
  'multiply', default=None
)


@dataclasses.dataclass(frozen=True)
class Kernel:
  """Parameters, what is made of them before the loop, and how to multiply."""

  params: Any
  prepare: Callable[[Any], Any]
  multiply: Callable[[Array, Any], Array]

  def __call__(self, x: Array, params: Any) -> Array:
    return self.multiply(x, self.prepare(params))


def product(
  x: Array,
  params: Any,
  prepare: Callable[[Any], Any],
  multiply: Callable[[Array, Any], Array],
) -> Array:
  """Returns multiply(x, prepare(params)); a `scan` prepares once for all steps.

  Args:
    x: (..., I).
    params: Arrays from outside the loop.
    prepare, multiply: Linear in them; `multiply` treats all leading axes of x
      alike. No other transformation may be between this and the loop.
  """
  kernel = Kernel(params, prepare, multiply)
  current = _MULTIPLY.get()
  return current(x, kernel) if current else kernel(x, params)


def looping() -> bool:
  """Tells whether the body of a `scan` is being traced."""
  return _MULTIPLY.get() is not None


def scan(
  body: Callable, carry: Any, xs: Any, *, remat: bool = False
) -> tuple[Any, Any]:
  """Scans like `jax.lax.scan` bodies that multiply by parameters.

  Every `product` of the body is prepared once. The gradients to its parameters
  are made after the backward loop, from the inputs and the gradients of all T
  steps at once: one large product instead of T small ones, each of which would
  read and write a gradient as large as the parameter.

  Args:
    body: (carry, x) to (carry, y), without effects.
    carry: Before the first step.
    xs: Arrays with a leading axis of T.
    remat: The backward loop computes each step once more, to save memory.
  """
  # (T, ...) to (...,), the first step.
  first, length = jax.tree.map(lambda x: x[0], xs), len(jax.tree.leaves(xs)[0])
  kernels, taps = _find_products(body, carry, first)
  params = [kernel.params for kernel in kernels]
  step, closed = jax.closure_convert(
    _instrumented(body, kernels), carry, first, _prepare(kernels, params), taps
  )

  def loop(carry, xs, taps, closed, ready):
    inner = lambda carry, x: step(carry, x[0], ready, x[1], *closed)
    inner = jax.checkpoint(inner) if remat else inner
    carry, (ys, inputs) = jax.lax.scan(inner, carry, (xs, taps))
    return (carry, ys), inputs

  stacked = [jnp.zeros((length, *tap.shape), tap.dtype) for tap in taps]

  @jax.custom_vjp
  def run(params, carry, xs, closed):
    return loop(carry, xs, stacked, closed, _prepare(kernels, params))[0]

  def forward(params, carry, xs, closed):
    ready = _prepare(kernels, params)
    tapped = lambda *args: loop(*args, ready)
    result, pull, inputs = jax.vjp(
      tapped, carry, xs, stacked, closed, has_aux=True
    )
    return result, (pull, inputs, params)

  def backward(residuals, cotangent):
    pull, inputs, params = residuals
    carry, xs, taps, closed = pull(cotangent)
    grads = _gradients(kernels, inputs, params, taps)
    return grads, carry, xs, closed

  run.defvjp(forward, backward)
  return run(params, carry, xs, closed)


def _find_products(body, carry, x) -> tuple[list[Kernel], list[Array]]:
  """Finds the kernels of a body in order, and zeros like their products."""
  kernels, shapes = [], []

  def multiply(x, kernel):
    y = kernel(x, kernel.params)
    kernels.append(kernel)
    shapes.append(jax.ShapeDtypeStruct(y.shape, y.dtype))
    return y

  with _multiplying(multiply):
    jax.eval_shape(body, carry, x)
  return kernels, [jnp.zeros(x.shape, x.dtype) for x in shapes]


def _instrumented(body, kernels) -> Callable:
  """Gives a body prepared kernels, and taps; its inputs become outputs."""

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


def _gradients(kernels, inputs, params, cotangents) -> list:
  """Computes gradients of parameters, from the inputs of all steps at once."""
  every = zip(kernels, inputs, params, cotangents, strict=True)
  return [
    jax.vjp(functools.partial(kernel, x), values)[1](cotangent)[0]
    for kernel, x, values, cotangent in every
  ]


def _prepare(kernels: list[Kernel], params: list) -> list:
  """Prepares all kernels, as values that stay outside the loop."""
  pairs = zip(kernels, params, strict=True)
  return jax.lax.optimization_barrier(
    [k.prepare(values) for k, values in pairs]
  )


@contextlib.contextmanager
def _multiplying(multiply: Callable) -> Iterator[None]:
  token = _MULTIPLY.set(multiply)
  try:
    yield
  finally:
    _MULTIPLY.reset(token)
