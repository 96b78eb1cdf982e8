"""Modules with parameters that numpy draws.

Compiling an initialiser for every shape takes longer than most tests; and here
biases, scales and output layers are not what they start as, 0 and 1.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from flax import nnx

Module = TypeVar('Module', bound=nnx.Module)


def filled(make: Callable[[nnx.Rngs], Module], seed: int = 0) -> Module:
  """The module that `make` builds, of random parameters near √(1/fan in)."""
  rng = np.random.default_rng(seed)

  def draw(path, x):
    normal = rng.normal(size=x.shape)
    if 'scale' in path:
      return (1 + 0.2 * normal).astype(x.dtype)
    fan = np.prod(x.shape[:-1]) if x.ndim > 1 else 10
    return (normal * max(1, fan) ** -0.5).astype(x.dtype)

  module = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
  graphdef, state = nnx.split(module)
  leaves = [(path, draw(path, v)) for path, v in nnx.to_flat_state(state)]
  arrays = [(path, jax.numpy.asarray(x)) for path, x in leaves]
  return nnx.merge(graphdef, nnx.from_flat_state(arrays))
