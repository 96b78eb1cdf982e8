"""Decoupled weight decay of the parameters whose name matches."""

import re

import optax

from dreamer_nnx.errors import UserError


def weight_decay(wd: float, pattern: str) -> optax.GradientTransformation:
  """Adds wd · p to the update of every parameter named by `pattern`.

  Args:
    wd: Strength; 0 adds nothing.
    pattern: Regular expression searched in the flat parameter names.

  Raises:
    ValueError: The pattern is not a regular expression.
  """
  if not wd:
    return optax.identity()
  try:
    regex = re.compile(pattern)
  except re.error as error:
    raise UserError(
      f'config.optimizer wdregex = {pattern!r}: not a regular expression, '
      f'{error}.'
    ) from error
  return optax.add_decayed_weights(
    wd, lambda params: {name: bool(regex.search(name)) for name in params}
  )
