"""The error that is a message to the user; any other is a defect."""

from typing import Any, Self

_NOTHING = object()


class UserError(ValueError):
  """A mistake in what was asked for, or a failure that its message explains.

  The message is shown alone, without a traceback. What raises it says what is
  wrong and what to do; the place is a config path, a flag, or in a component
  the name of its own field, before which the path of the component is put
  when it is built.

    raise UserError('must be odd.', 'kernel', 4)
    # config.encoder.mine.kernel = 4: must be odd.

  Args:
    what: What is wrong, and the remedy.
    path: 'config.train.steps', '--workdir', or a field of the component that
      raises it; empty for the component itself.
    got: The value of the field, if it is to be shown.
  """

  # Exit status of the program.
  status = 2

  def __init__(self, what: str, path: str = '', got: Any = _NOTHING):
    super().__init__(what)
    self.what, self.path = what, path
    self.got = '' if got is _NOTHING else f' = {got!r}'

  def __str__(self) -> str:
    place = f'{self.path}{self.got}'
    return f'{place}: {self.what}' if place else self.what

  @property
  def placed(self) -> bool:
    """Tells whether the path is complete, and not relative to a component."""
    return self.path.startswith(('config.', '--')) or self.path == 'config'

  def within(self, path: str) -> Self:
    """Puts the path of a component before a path of its own."""
    if not self.placed:
      self.path = f'{path}.{self.path}' if self.path else path
    return self
