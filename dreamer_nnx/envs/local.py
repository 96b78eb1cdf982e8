"""Environments in this process, without workers, stepped one after another."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from dreamer_nnx import paths
from dreamer_nnx.envs import children
from dreamer_nnx.envs.host import Host
from dreamer_nnx.envs.watchdog import Watchdog
from dreamer_nnx.notices import warn_once

Step = Callable[[Any], Any]


class Local:
  """A link to an environment in this process; see `fleet.Link`.

  Attributes:
    step: Takes a step at once, for which nothing has to be asked, within
      what `LocalHub.together` makes.
  """

  hint = ''

  def __init__(self, host: Host, index: int, hub: 'LocalHub') -> None:
    self._host, self._index, self._hub = host, index, hub
    self._asked: tuple[str, tuple] = ('', ())
    self.step = host.step

  def ask(self, name: str, *arguments: Any) -> None:
    self._asked = name, arguments

  def receive(self) -> Any:
    return self._hub.call(self._index, self._host, *self._asked)

  def discard(self) -> str:
    return ''

  def release(self) -> None:
    self._hub.call(self._index, self._host, 'close', ())

  def close(self, deadline: float) -> None:
    del deadline


class LocalHub:
  """Makes environments in this process; see `fleet.Hub`.

  One that hangs cannot be replaced: it ends this process, see `Watchdog`.

  Attributes:
    watchdog: Limits the time of every call.
  """

  def __init__(self, timeout: float, where: str) -> None:
    def describe(what):
      index, name = what
      return (
        f'{where}: environment {index} hangs: {name} has not returned for '
        f'{timeout:g} seconds (step_timeout), see the last stack above.'
      )

    self._where = where
    self.watchdog = Watchdog(timeout, describe)
    self._children: set[int] = set()
    self._called: set[tuple[int, str]] = set()

  def connect(self, make: Callable[..., Host], index: int) -> Local:
    # An environment that exits would end the run without a word.
    host = functools.partial(make, caught=(Exception, SystemExit))()
    return Local(host, index, self)

  def together(self, steps: Sequence[Step]) -> Callable[[Sequence[Any]], list]:
    """Makes one function of the steps of all environments."""
    calls = [((index, 'step'), step) for index, step in enumerate(steps)]
    return functools.partial(self.watchdog.each, calls)

  def call(self, index: int, host: Host, name: str, arguments: tuple) -> Any:
    """Calls a method, and notes what it has changed in this process."""
    method, what = getattr(host, name), (index, name)
    folder = paths.here()
    # Most start their processes when they are made, which the first reset may
    # do. To look for these takes longer than a short episode.
    if new := what not in self._called:
      self._called.add(what)
      before = children.alive()
    try:
      return self.watchdog.run(what, method, *arguments)
    finally:
      if new:
        self._children |= children.alive() - before
      self._check_folder(folder)

  def close(self) -> list[str]:
    self.watchdog.close()
    return children.end(self._children)

  def _check_folder(self, before: str) -> None:
    after = paths.here()
    if after != before:
      warn_once(
        f'{self._where}: the environment has changed the current folder of '
        f'this process from {before} to {after or "one that is gone"}. The '
        'paths of this run are absolute and stay as they are.',
        f'{self._where}: folder',
      )
