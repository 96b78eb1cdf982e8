"""The callbacks of a run: called at fixed moments, with states that are saved.

Each process has its own, made alike; see `contracts.Callback`.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.training import processes

if TYPE_CHECKING:
  from dreamer_nnx.training.loop import Trainer

SHOWN = 60


class Callbacks:
  """Callbacks by their names in the config.

  An exception in one keeps its traceback, with a note that names the callback.

  Raises:
    UserError: One has only one of `state` and `restore`.
  """

  def __init__(self, callbacks: Mapping[str, Any] | None = None):
    self._callbacks = dict(callbacks or {})
    for name, callback in self._callbacks.items():
      _check(callback, path_of(name))

  def stepped(
    self,
    trainer: 'Trainer',
    step: Mapping[str, np.ndarray],
    finished: list[dict[str, float]],
  ) -> None:
    """Tells of a step (W, ...) of this process, and the episodes it ended."""
    self._call('stepped', trainer, step, finished)

  def updated(
    self, trainer: 'Trainer', metrics: Mapping[str, jax.Array]
  ) -> None:
    """Tells of an update and its metrics, which may not be computed yet."""
    self._call('updated', trainer, metrics)

  def state(self) -> dict[str, Any]:
    """States by name; every process has to ask.

    Raises:
      UserError: One is no JSON, or not the same in all processes.
    """
    names = [n for n, x in self._callbacks.items() if hasattr(x, 'state')]
    if not names:
      return {}
    states, problems = {}, {}
    for name in names:
      with _naming(name, 'state'):
        states[name] = self._callbacks[name].state()
      if problem := _no_json(states[name], ''):
        states[name], problems[name] = None, problem
    found = processes.gather([states, problems])
    for name in names:
      for index, (there, wrong) in enumerate(found):
        if name in wrong:
          _refuse(name, wrong[name])
        here, first = _text(there[name]), _text(found[0][0][name])
        if here != first:
          _refuse(
            name,
            f'must be the same in all processes, and is {_shown(here)} in '
            f'process {index}, {_shown(first)} in process 0.',
          )
    return states

  def restore(self, states: Mapping[str, Any]) -> None:
    """Restores what `state` returned; callbacks that are new begin anew."""
    for name in self._callbacks.keys() & states.keys():
      with _naming(name, 'restore'):
        self._callbacks[name].restore(states[name])

  def _call(self, moment: str, *arguments: Any) -> None:
    for name, callback in self._callbacks.items():
      call: Callable | None = getattr(callback, moment, None)
      if call is not None:
        with _naming(name, moment):
          call(*arguments)


def path_of(name: str) -> str:
  """The config path of a callback."""
  return f'config.callbacks.{name}'


def _check(callback: Any, path: str) -> None:
  """Refuses a state that cannot be saved, or not be restored."""
  missing = [x for x in ('state', 'restore') if not hasattr(callback, x)]
  if len(missing) == 1:
    raise UserError(
      f'{type(callback).__name__} has no {missing[0]}. A callback with a state '
      'has both, state and restore.',
      path,
    )


@contextlib.contextmanager
def _naming(name: str, moment: str) -> Iterator[None]:
  """Names the callback in an exception."""
  try:
    yield
  except UserError as error:
    error.within(path_of(name))
    raise
  except Exception as error:
    error.add_note(f'in {moment} of {path_of(name)}')
    raise


def _no_json(value: Any, place: str) -> str:
  """Says what in a value JSON would not bring back as it is; or nothing."""
  if value is None or type(value) in (bool, int, float, str):
    return ''
  if type(value) is list:
    parts = [(f'{place}[{i}]', x) for i, x in enumerate(value)]
  elif type(value) is dict:
    if odd := [key for key in value if type(key) is not str]:
      return f'has the key {odd[0]!r}{_at(place)}, and JSON has text alone.'
    parts = [(f'{place}[{key!r}]', x) for key, x in value.items()]
  else:
    return (
      f'has a {type(value).__name__}{_at(place)}, and JSON has bool, int, '
      'float, str, None, lists and dicts alone.'
    )
  return next(filter(None, (_no_json(x, where) for where, x in parts)), '')


def _at(place: str) -> str:
  return f' at {place}' if place else ''


def _text(value: Any) -> str:
  return json.dumps(value, sort_keys=True)


def _shown(text: str) -> str:
  return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'


def _refuse(name: str, what: str) -> None:
  raise UserError(f'its state {what}', path_of(name))
