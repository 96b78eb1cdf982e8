"""Compiling as users do, where a test is about just that."""

import contextlib
from collections.abc import Iterator

import jax

FLAG = 'jax_disable_most_optimizations'


@contextlib.contextmanager
def optimized() -> Iterator[None]:
  """Within, programs are compiled with every optimisation."""
  before = jax.config.read(FLAG)
  jax.config.update(FLAG, False)
  try:
    yield
  finally:
    jax.config.update(FLAG, before)
