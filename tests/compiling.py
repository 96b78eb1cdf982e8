"""Compiling as users do, and what is compiled, for tests about just that."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator

import jax

from tests.plain import EMITTERS

FLAG = 'jax_disable_most_optimizations'


def optimized(function: Callable) -> Callable:
  """Compiles a function as users do, with every optimisation."""
  options = {EMITTERS: True} if EMITTERS else None
  compiled = jax.jit(function, compiler_options=options)

  @functools.wraps(function)
  def call(*args: jax.Array):
    before = jax.config.read(FLAG)
    jax.config.update(FLAG, False)
    try:
      return compiled(*args)
    finally:
      jax.config.update(FLAG, before)

  return call


class _Compiled(logging.Handler):
  """Keeps what JAX says that it compiles."""

  def __init__(self):
    super().__init__(logging.WARNING)
    self.texts = []

  def emit(self, record: logging.LogRecord) -> None:
    text = record.getMessage()
    if text.startswith('Compiling '):
      self.texts.append(text)


@contextlib.contextmanager
def compiled() -> Iterator[list[str]]:
  """Lines of JAX's log that name the functions compiled within."""
  handler, log = _Compiled(), logging.getLogger('jax')
  log.addHandler(handler)
  try:
    with jax.log_compiles():
      yield handler.texts
  finally:
    log.removeHandler(handler)
