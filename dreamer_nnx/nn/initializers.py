"""Weight initialisers named `<distribution>_<fan>`, e.g. trunc_normal_in.

Normal draws have standard deviation about √(1/fan), uniform ones lie within
±√(1/fan): `in`, `out` or `avg` of the kernel's fans. Leading axes of a kernel
before its last two count as space.
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from dreamer_nnx import registry
from dreamer_nnx.schema import OneOf

# A normal cut at two standard deviations is narrower; this widens it again.
TRUNCATION = 1.1368


def _trunc_normal(key, shape, limit):
  draw = jax.random.truncated_normal(key, -2.0, 2.0, shape)
  return draw * TRUNCATION * limit


def _normal(key, shape, limit):
  return jax.random.normal(key, shape) * limit


def _uniform(key, shape, limit):
  return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


DISTRIBUTIONS = {
  'trunc_normal': _trunc_normal,
  'normal': _normal,
  'uniform': _uniform,
}
FANS = {
  'in': lambda fan_in, fan_out: fan_in,
  'out': lambda fan_in, fan_out: fan_out,
  'avg': lambda fan_in, fan_out: (fan_in + fan_out) / 2,
}
INITIALIZERS = {
  f'{distribution}_{fan}': (draw, choose)
  for distribution, draw in DISTRIBUTIONS.items()
  for fan, choose in FANS.items()
}
Winit = Annotated[str, OneOf(*INITIALIZERS)]


def initialize(
  name: str, key: jax.Array, shape: tuple[int, ...], scale: float = 1.0
) -> jax.Array:
  """Draws a kernel.

  Args:
    name: One of `INITIALIZERS`.
    key: PRNG key.
    shape: (*space, fan in, fan out).
    scale: Multiplies the draw; 0 gives exact zeros.

  Returns:
    float32 kernel.

  Source: danijar/dreamerv3 `nets.py:Initializer`.
  """
  draw, choose = registry.pick(INITIALIZERS, name, 'winit')
  space = math.prod(shape[:-2])
  fan = choose(space * shape[-2], space * shape[-1])
  if not scale:
    return jnp.zeros(shape)
  return draw(key, shape, math.sqrt(1 / fan)) * scale
