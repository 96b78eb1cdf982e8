"""A scan that does outside the loop what need not be done at every step."""

import contextvars
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Body:
  """The body of a `scan` while it is traced.

  Args:
    multiply: Called by `product` instead of multiplying.
    trace: State of JAX's tracing where the body begins.
  """

  multiply: Callable
  trace: Any

  @property
  def current(self) -> bool:
    """Tells whether the body itself is traced, and nothing inside of it."""
    return self.trace == get_opaque_trace_state(convention='nnx')


_BODY: contextvars.ContextVar[Body | None] = contextvars.ContextVar(
  'body', default=None
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
      alike. Inside of another transformation in the body of a `scan`, such as
      `vmap` or `cond`, it is multiplied there and then.
  """
  kernel = Kernel(params, prepare, multiply)
  body = _BODY.get()
  return (
    body.multiply(x, kernel) if body and body.current else kernel(x, params)
  )


def looping() -> bool:
  """Tells whether the body of a `scan` is being traced."""
  return _BODY.get() is not None


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

  Inside the body of another `scan` it is a plain scan.
  """
  if looping():
    plain = jax.checkpoint(body) if remat else body
    return jax.lax.scan(plain, carry, xs)
  return _scan(body, carry, xs, remat)


def _scan(body: Callable, carry: Any, xs: Any, remat: bool) -> tuple[Any, Any]:
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

  # Made where they are used: as constants they could leak into other traces.
  stacked = lambda: [jnp.zeros((length, *y.shape), y.dtype) for y in taps]

  @jax.custom_vjp
  def run(params, carry, xs, closed):
    return loop(carry, xs, stacked(), closed, _prepare(kernels, params))[0]

  def forward(params, carry, xs, closed):
    ready = _prepare(kernels, params)
    tapped = functools.partial(loop, ready=ready)
    primals = carry, xs, stacked(), closed
    result, pull, inputs = jax.vjp(tapped, *primals, has_aux=True)
    return result, (pull, inputs, params)

  def backward(residuals, cotangent):
    pull, inputs, params = residuals
    carry, xs, taps, closed = pull(cotangent)
    grads = _gradients(kernels, inputs, params, taps)
    return grads, carry, xs, closed

  run.defvjp(forward, backward)
  return run(params, carry, xs, closed)


def _find_products(body, carry, x) -> tuple[list[Kernel], list[Any]]:
  """Finds the kernels of a body in order, and the shapes of their products."""
  kernels, shapes = [], []

  def multiply(x, kernel):
    y = kernel(x, kernel.params)
    kernels.append(kernel)
    shapes.append(jax.ShapeDtypeStruct(y.shape, y.dtype))
    return y

  jax.eval_shape(_multiplying(body, multiply), carry, x)
  return kernels, shapes


def _instrumented(body, kernels) -> Callable:
  """Gives a body prepared kernels, and taps; its inputs become outputs."""

  def step(carry, x, ready, taps):
    inputs = []

    def multiply(x, _):
      index = len(inputs)
      inputs.append(x)
      return kernels[index].multiply(x, ready[index]) + taps[index]

    carry, y = _multiplying(body, multiply)(carry, x)
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


def _multiplying(body: Callable, multiply: Callable) -> Callable:
  """Makes a body whose products call `multiply`."""

  def traced(carry, x):
    trace = get_opaque_trace_state(convention='nnx')
    token = _BODY.set(Body(multiply, trace))
    try:
      return body(carry, x)
    finally:
      _BODY.reset(token)

  return traced
