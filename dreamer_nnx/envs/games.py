"""Games of other packages, stepped together, as one `VectorEnv`."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple, Protocol

import gymnasium
import numpy as np

from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.interface import Interface
from dreamer_nnx.schema import Range

# Threads of a library; it ends the process if the system refuses them.
Threads = Annotated[int, Range(0, 1024)]


class Played(NamedTuple):
  """One step of W games.

  Args:
    seen: Observations (W, ...).
    reward: (W,), any number type.
    over: Flags (W,) of games that ended by their own rules.
    cut: Flags (W,) of games that a time limit ended.
  """

  seen: np.ndarray
  reward: np.ndarray
  over: np.ndarray
  cut: np.ndarray


class Games(Protocol):
  """W games with one observation and one discrete action each.

  The arrays that are returned are not changed afterwards.
  """

  num_envs: int
  obs_space: gymnasium.spaces.Box
  action_space: gymnasium.spaces.Discrete

  def begin(self) -> np.ndarray:
    """Begins all of them, from their seeds; returns observations (W, ...)."""
    ...

  def play(self, actions: np.ndarray) -> Played:
    """Takes (W,) int32 actions; those that ended before begin anew instead."""
    ...

  def close(self) -> None: ...


class GameVectorEnv:
  """W games behind the `VectorEnv` interface.

  There is no state to resume from: these packages save none.

  Args:
    where: The config path of the environment, for errors.
    repeat: Frames of the game in each step.
    limit_terminal: Whether a time limit counts as the end of the game.
  """

  def __init__(
    self,
    games: Games,
    where: str,
    *,
    repeat: int = 1,
    limit_terminal: bool = False,
  ) -> None:
    self.num_envs, self.repeat = games.num_envs, repeat
    self.interface = Interface(games.obs_space, games.action_space)
    self.obs_space = self.interface.obs_space
    self.action_space = self.interface.action_space
    (self._seen,), (self._acted,) = self.obs_space, self.action_space
    self._count = int(games.action_space.n)
    self._games, self._where = games, where
    self._limit_terminal = limit_terminal
    self._ended = None

  def reset(self) -> dict[str, np.ndarray]:
    """Begins a game in every environment, from the same seeds again."""
    none = np.zeros(self.num_envs, bool)
    self._ended = ~none
    played = Played(self._games.begin(), np.zeros(self.num_envs), none, none)
    return self._result(played)

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Takes (W,) actions; see `VectorEnv`.

    Raises:
      EnvError: If `reset` has not been called, or an action is not of its
        space.
    """
    if self._ended is None:
      raise EnvError('call reset before step.', self._where)
    return self._result(self._games.play(self._actions(action)))

  def close(self) -> None:
    self._games.close()

  def state(self) -> None:
    """Returns None: these games cannot be saved."""
    return None

  def restore(self, state: dict) -> None:
    raise EnvError('these games have no state to restore.', self._where)

  def stats(self) -> dict[str, float]:
    """Returns no restarts: these games do not crash."""
    return {'env/restarts': 0.0}

  def _actions(self, action):
    if self._acted not in action:
      raise EnvError(
        f'the action {self._acted!r} is missing, got {sorted(action)}.',
        self._where,
      )
    given = np.asarray(action[self._acted])
    value = np.ascontiguousarray(given, np.int32)
    fits = value.shape == (self.num_envs,)
    if given.dtype != np.int32:
      fits = fits and (value == given).all()
    # A number below 0 is a large one here.
    if not fits or value.view(np.uint32).max() >= self._count:
      raise EnvError(
        f'the action {self._acted!r} is {given!r:.200}, not {self.num_envs} '
        f'classes from 0 to {self._count - 1}.',
        self._where,
      )
    return value

  def _result(self, played):
    first, last = self._ended, played.over | played.cut
    self._ended = last.copy()
    reward = played.reward.astype(np.float32, copy=False)
    reward[first] = 0
    terminal = last.copy() if self._limit_terminal else played.over
    return {
      self._seen: played.seen,
      'reward': reward,
      'is_first': first,
      'is_last': last,
      'is_terminal': terminal,
    }
