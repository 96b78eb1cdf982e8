"""A host of one environment: makes it, steps it, makes it anew if it raises."""

import dataclasses
import pickle
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs.faults import EnvError, Fault, describe
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Interface
from dreamer_nnx.notices import Keeper, Notice, warn_once
from dreamer_nnx.streams import Stream

# Errors that reach the user as they are; see `single.vectorize`.
KEPT = (UserError, gymnasium.error.DependencyNotInstalled)


class Spaces(NamedTuple):
  """The flat spaces of an environment."""

  observation: dict[str, gymnasium.Space]
  action: dict[str, gymnasium.Space]
  # Notes for the user on the way the spaces are read.
  notes: tuple[str, ...]
  interface: Interface


@dataclasses.dataclass(slots=True)
class Answer:
  """The result of one step or reset of one environment.

  An episode that a fault has ended is `truncated` and `cut`.
  """

  obs: dict[str, np.ndarray]
  reward: float = 0.0
  terminated: bool = False
  truncated: bool = False
  cut: bool = False
  fault: Fault | None = None


class Host:
  """Makes and steps one environment, and makes it again after it has raised.

  An exception in `step` ends the episode: the last good observation again,
  reward 0, truncated. The next `reset` makes a new environment, and another
  one if that raises too. Neither raises itself, so that the other
  environments of a vector stay usable; faults travel in the answer. The new one
  has a seed of its own: its episodes are not those that led to the crash.

  Args:
    make: Makes the environment as `single.Wrapped` does, when it is needed;
      one in place of another from a seed.
    limit: Crashes in a row (without an episode that ended by itself between
      them) after which the run stops; a first reset is tried twice at most.
    spaces: Spaces that the environment must have; None for any.
    caught: Exceptions that count as crashes.
    again: The seed of an environment in place of one that was lost; None for
      the first one.
  """

  def __init__(
    self,
    make: Callable[..., gymnasium.Env],
    limit: int,
    spaces: Spaces | None = None,
    caught: tuple[type[BaseException], ...] = (Exception,),
    again: int | None = None,
  ) -> None:
    self._make = make
    self._limit = limit
    self._spaces = spaces
    self._caught = caught
    # The seed of the last reset that had one, and that of a new environment.
    self._seed, self._again = 0, again
    # Others of the run have been reset before.
    self._begun = spaces is not None
    self._env = None
    self._last: dict[str, np.ndarray] = {}
    self._crashes = 0

  def start(self) -> Spaces:
    """Makes the environment; returns its spaces.

    Raises:
      Exception: The one that making it raised.
    """
    self._env = self._env or self._started()
    return self._spaces

  def reset(self, seed: int | None) -> Answer:
    """Begins an episode and returns its first step."""
    fault, restarts = None, 0
    while True:
      if self._env is None and seed is None:
        seed = self._again
      self._seed = self._seed if seed is None else seed
      try:
        self._env = self._env or self._started()
        self._last, _ = self._env.reset(seed=seed)
        self._begun = True
        return Answer(self._last, fault=fault)
      except self._caught as error:
        fault = self._crash(error, 'reset')
        restarts += fault.restarts
        fault = dataclasses.replace(fault, restarts=restarts)
        if fault.fatal:
          return Answer(self._last, fault=fault)
      seed = self._again

  def step(self, action: Any) -> Answer:
    """Takes an action of the environment and returns what it leads to."""
    try:
      obs, reward, terminated, truncated, _ = self._env.step(action)
    except self._caught as error:
      fault = self._crash(error, 'step')
      return Answer(self._last, truncated=True, cut=True, fault=fault)
    if terminated or truncated:
      self._crashes = 0
    self._last = obs
    return Answer(obs, reward, terminated, truncated)

  def close(self) -> None:
    """Closes the environment, if there is one."""
    env, self._env = self._env, None
    if env is not None:
      env.close()

  def _started(self):
    env = self._make() if self._again is None else self._make(self._again)
    interface = env.get_wrapper_attr('interface')
    found = Spaces(
      dict(env.observation_space.spaces),
      interface.action_space,
      tuple(env.get_wrapper_attr('notes')),
      interface,
    )
    first = self._spaces = self._spaces or found
    acted = first.interface.action
    for name, want, has in (
      ('observation', first.observation, found.observation),
      ('action', acted, interface.action),
    ):
      if want != has:
        env.close()
        raise EnvError(
          f'its {name} space is {has}, the first environment made has {want}. '
          'All environments of a run must have the same spaces.'
        )
    return env

  def _crash(self, error, where):
    broken = isinstance(error, EnvError)
    message = f'{"" if broken else f"{where} raised "}{describe(error)}'
    # The same seed could lead to the same crash.
    self._again = streams.seed(self._seed, Stream.CRASH)
    self._crashes += 1
    limit = self._limit if self._begun else min(1, self._limit)
    fatal = broken or self._crashes > limit
    try:
      self.close()
    except self._caught as second:
      message += f'; close raised {describe(second)}'
    return Fault(message, 0 if fatal else 1, self._crashes, fatal)


class Noticed(NamedTuple):
  """An answer, and what the worker has to say beside it."""

  answer: Any
  notices: list[Notice]


def call(host: Host, name: str, arguments: tuple, keeper: Keeper) -> Any:
  """Returns a method's result, or an exception, as it is sent elsewhere.

  Args:
    keeper: Of the worker's warnings, which are sent with it.
  """
  try:
    answer = getattr(host, name)(*arguments)
  except Exception as error:
    answer = portable(error)
  notices = keeper.taken()
  return Noticed(answer, notices) if notices else answer


def received(answer: Any) -> Any:
  """Returns or raises what `call` has sent, and says what was noticed."""
  if isinstance(answer, Noticed):
    for notice in answer.notices:
      warn_once(*notice)
    answer = answer.answer
  if isinstance(answer, Exception):
    raise answer
  return answer


def portable(error: Exception) -> Exception:
  """Returns the exception if it can be pickled and matters, else its words."""
  if isinstance(error, KEPT):
    error.add_note(
      f'In its worker:\n{"".join(traceback.format_exception(error))}'
    )
    try:
      return pickle.loads(pickle.dumps(error))
    except Exception as second:
      return EnvError(f'{describe(error)}; it cannot be sent: {second}')
  return EnvError(describe(error))
