"""Errors that end the program: message, exit status, or traceback."""

import os
import re
import sys
import traceback
import warnings
from logging import LogRecord
from types import TracebackType
from typing import NoReturn

from absl import logging

from dreamer_nnx import compat, paths
from dreamer_nnx.errors import UserError

# Pairs of absl's message about a value and the one given here.
OF_ABSL = (
  ('Non-boolean argument', 'must be true or false.'),
  ('invalid literal for int()', 'must be an int.'),
)


def write(text: str) -> None:
  """Prints, although the reader, such as `head`, may have seen enough."""
  try:
    print(text, flush=True)
  except BrokenPipeError:
    # What is flushed when Python ends goes nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def expected(error: BaseException) -> bool:
  """Tells whether an error's message is enough, without a traceback."""
  return bool(isinstance(error, UserError | OSError) or paths.refusal(error))


def status_of(error: BaseException) -> int:
  """Returns exit status 2 for a wrong request, 1 for a failure on the way."""
  if isinstance(error, UserError):
    return error.status
  return 2 if expected(error) else 1


def lost_others(error: BaseException | None) -> bool:
  """Tells whether a computation of several processes lost one of them."""
  import jax

  from dreamer_nnx.training.devices import OutOfMemoryError

  if isinstance(error, OutOfMemoryError):
    return False
  while error and not isinstance(error, jax.errors.JaxRuntimeError):
    error = error.__cause__
  return error is not None


def end_this_process(error: Exception, *, debug: bool) -> NoReturn:
  """Ends this process soon; the others would be waited for otherwise.

  Args:
    debug: Shows the traceback of every error.
  """
  from dreamer_nnx.training import processes

  if debug or not (expected(error) or lost_others(error)):
    traceback.print_exception(error)
  elif expected(error):
    print(explain(error), file=sys.stderr)
  if lost_others(error):
    print(
      'The processes cannot go on together; one of them is probably gone. '
      'Start all of them again: they go on from the last checkpoint.',
      file=sys.stderr,
    )
  sys.stdout.flush()
  sys.stderr.flush()
  if not lost_others(error):
    processes.leave()
  os._exit(status_of(error))


def silence_save_errors() -> None:
  """Silences libraries about a failed save, whose error is shown anyway."""
  logging.get_absl_handler().addFilter(is_not_of_orbax)
  # Writes that Orbax had not begun; other coroutines are a component's own.
  warnings.filterwarnings('ignore', "coroutine 'async_serialize_from_host")
  sys.unraisablehook = unraisablehook


def is_not_of_orbax(record: LogRecord) -> bool:
  threads = ('asyncio', 'concurrent.futures')
  return 'orbax' not in record.pathname and record.name not in threads


def unraisablehook(unraisable: 'sys.UnraisableHookArgs') -> None:
  # TensorStore raises this for each array still being written when the error
  # of one ended the save, before or after that error is told.
  if repr(unraisable.exc_value) != "RuntimeError('Event loop is closed')":
    sys.__unraisablehook__(unraisable)


def of_config(error: BaseException) -> bool:
  """Tells whether ml_collections refused a config's field or its value."""
  last: TracebackType | None = error.__traceback__
  while last and last.tb_next:
    last = last.tb_next
  module = last.tb_frame.f_globals.get('__name__', '') if last else ''
  return module.startswith('ml_collections.')


def explain(error: BaseException) -> str:
  """Returns the message of an error, without traceback or class.

  Errors of ml_collections, which name no path, are put in our words.
  """
  text = _innermost(_message(error))
  close = re.search(r'\nDid you mean "([^"]+)" instead of "([^"]+)"', text)
  lone = isinstance(error, AttributeError) and re.fullmatch(r"'(\w+)'", text)
  lost = re.match(r'Key "([^"]+)" does not exist', text) or lone
  if close or lost:
    name = close[2] if close else lost[1]
    hint = f' Did you mean {close[1]!r}?' if close else ''
    if (today := compat.path(name)) != name:
      hint = f' It is {today!r} now.'
    return f'config: there is no field {name!r} to set or read.{hint}'
  wrong = re.match(
    r"Could not override field '([^']+)' \(reference\)\. (.*) is of original "
    r"type .* cannot be casted to type <class '(\w+)'>",
    text,
    re.DOTALL,
  )
  if wrong:
    return f'config: {wrong[1]} = {wrong[2]}: must be of type {wrong[3]}.'
  flag = re.match(r'flag --([^=]+)=(.*?): (.*)', text, re.DOTALL)
  if not flag:
    return text
  what = next((said for found, said in OF_ABSL if found in text), flag[3])
  return f'--{flag[1]} = {flag[2]!r}: {what}'


def _message(error: BaseException) -> str:
  # str() of a KeyError is the repr of its argument, and ml_collections hides
  # a KeyError in its AttributeErrors.
  inner = error.args[0] if len(error.args) == 1 else None
  if isinstance(inner, BaseException):
    return _message(inner)
  if isinstance(error, KeyError) and isinstance(inner, str):
    return inner
  return str(error) or type(error).__name__


def _innermost(text: str) -> str:
  """The last error of a traceback that a message holds, or the message."""
  if 'Traceback (most recent call last)' not in text:
    return text
  return re.split(r'^[\w.]*(?:Error|Exception): ', text, flags=re.M)[-1].strip()
