"""Workers that are none: all environments in this process, one by one."""

from collections.abc import Callable
from typing import Any

from dreamer_nnx.envs.host import Host
from dreamer_nnx.envs.watchdog import Watchdog


class Local:
  """A link to an environment in this process; see `fleet.Link`."""

  hint = ''

  def __init__(self, host: Host, index: int, watchdog: Watchdog) -> None:
    self._host, self._index, self._watchdog = host, index, watchdog
    self._asked: tuple[str, tuple] = ('', ())

  def ask(self, name: str, *arguments: Any) -> None:
    self._asked = name, arguments

  def receive(self) -> Any:
    name, arguments = self._asked
    call = getattr(self._host, name)
    return self._watchdog.run((self._index, name), call, *arguments)

  def bury(self) -> str:
    return ''

  def release(self) -> None:
    self._watchdog.run((self._index, 'close'), self._host.close)

  def close(self, deadline: float) -> None:
    del deadline


class Here:
  """Has the environments here; see `fleet.Hub`.

  One that hangs cannot be replaced: it ends this process, see `Watchdog`.
  """

  def __init__(self, timeout: float, where: str) -> None:
    def say(what):
      index, name = what
      return (
        f'{where}: environment {index} hangs: {name} has not returned for '
        f'{timeout:g} seconds (step_timeout), see the last stack above.'
      )

    self._watchdog = Watchdog(timeout, say)

  def connect(self, make: Callable[[], Host], index: int) -> Local:
    return Local(make(), index, self._watchdog)

  def close(self) -> None:
    self._watchdog.close()
