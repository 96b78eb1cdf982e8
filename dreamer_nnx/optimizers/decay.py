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
    UserError: The pattern is not a regular expression.
  """
  try:
    regex = re.compile(pattern)
  except re.error as error:
    what = f'is no regular expression: {error}.'
    raise UserError(what, 'wdregex', pattern) from error
  if not wd:
    return optax.identity()
  return optax.add_decayed_weights(
    wd, lambda params: {name: bool(regex.search(name)) for name in params}
  )
