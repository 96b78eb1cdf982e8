"""Moments where a dream begins: a fresh episode, or a moment of the replay.

Arrays are as the agent has them, (1, ...) of one step and (1, T, ...) of many.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import contracts, recorded, spaces, streams
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained

Step = dict[str, np.ndarray]
FLAGS = ('is_first', 'is_last', 'is_terminal')
# Sequences of the replay that are kept to choose from.
MOST = 1024


class Truth(Protocol):
  """Steps that really follow a moment.

  Attributes:
    name: `environment` or `recording`.
  """

  name: str

  def recorded(self) -> Step | None:
    """The action that was taken here; None where there is none."""
    ...

  def follow(self, action: Mapping[str, np.ndarray]) -> Step | None:
    """The step that the action leads to; None where that is not known."""
    ...


@dataclasses.dataclass(frozen=True)
class Moment:
  """Steps that were seen up to where a dream begins.

  Args:
    obs: Steps (1, T, ...), with `is_first`.
    actions: At these steps.
    last: The last of them, with its reward.
    words: Where this is, in words.
    size: How many steps there are to choose from; 1 where there is no choice.
  """

  obs: Step
  actions: Step
  last: Step
  truth: Truth
  words: str
  size: int = 1


class Episode:
  """A fresh episode of the environment, stepped beside the dream."""

  name = 'environment'

  def __init__(self, envs: contracts.VectorEnv):
    self._envs, self._ended = envs, True

  def begin(self) -> Step:
    """Begins an episode, and returns its first step."""
    self._ended = False
    return self._envs.reset()

  def recorded(self) -> Step | None:
    return None

  def follow(self, action: Mapping[str, np.ndarray]) -> Step | None:
    if self._ended:
      return None
    step = self._envs.step(dict(action))
    self._ended = bool(step['is_last'][0])
    return step


class Recording:
  """The steps of the replay that follow a moment, as long as they last."""

  name = 'recording'

  def __init__(self, steps: Step, actions: Step, place: int):
    self._steps, self._actions, self._place = steps, actions, place

  def recorded(self) -> Step | None:
    if not self._goes_on():
      return None
    return {k: x[:, self._place] for k, x in self._actions.items()}

  def follow(self, action: Mapping[str, np.ndarray]) -> Step | None:
    taken = self.recorded()
    same = taken and all(np.array_equal(action[k], x) for k, x in taken.items())
    # What another action would have led to is not known.
    self._place = self._place + 1 if same else self._steps['is_first'].shape[1]
    return self._at(self._place) if same else None

  def _goes_on(self) -> bool:
    place, length = self._place + 1, self._steps['is_first'].shape[1]
    return place < length and not self._steps['is_first'][0, place]

  def _at(self, place: int) -> Step:
    return {key: x[:, place] for key, x in self._steps.items()}


class Moments(contextlib.ExitStack):
  """Makes moments of a run; a context manager.

  Environment and replay are made when they are first asked for.

  Args:
    trained: The agent that plays.
    config: Of its run.
  """

  def __init__(self, trained: Trained, config: configs.ConfigDict):
    super().__init__()
    self._trained = trained
    self._parts = configs.bind_all(config)
    self._episode: Episode | None = None
    self._replay: contracts.Replay | None = None
    # Windows (T, ...) that were drawn so far.
    self._windows: list[Step] = []

  def fresh(self) -> Moment:
    """Begins an episode of the environment.

    Raises:
      UserError, EnvError: The environment cannot be made.
    """
    if self._episode is None:
      stream = streams.seed(self._trained.seed, Stream.EVALUATION_ENVS, 1)
      envs = make_vector_env(self._parts['env'], 1, stream)
      self.callback(envs.close)
      self._episode = Episode(envs)
    first = self._episode.begin()
    obs = {k: x[:, None] for k, x in self._seen(first).items()}
    actions = spaces.zeros(self._trained.interface.action_space, 1)
    actions = {k: x[:, None] for k, x in actions.items()}
    return Moment(obs, actions, first, self._episode, 'a fresh episode')

  def replayed(self, number: int, place: int) -> Moment:
    """Returns a moment of the replay.

    Args:
      number: Of the drawn sequence, from 0.
      place: Its step, from 0; the last one that there is at most.

    Raises:
      UserError: The number is too high, the run stores no replay, or nothing
        can be drawn from it.
    """
    if number >= MOST:
      raise UserError(f'must be below {MOST}.', 'number', number)
    while len(self._windows) <= number:
      self._draw()
    window = {k: x[None] for k, x in self._windows[number].items()}
    length = window['is_first'].shape[1]
    # The window as drawn begins in the middle of an episode.
    window['is_first'][:, 0] = True
    place = max(0, min(place, length - 1))
    names = tuple(self._trained.interface.action_space)
    actions = {k: window[k] for k in names}
    steps = {k: x for k, x in window.items() if k not in names}
    until = lambda tree: {k: x[:, : place + 1] for k, x in tree.items()}
    return Moment(
      self._seen(until(steps)),
      until(actions),
      {k: x[:, place] for k, x in steps.items()},
      Recording(steps, actions, place),
      f'sequence {number + 1} of the replay, step {place + 1} of {length}',
      length,
    )

  def _draw(self) -> None:
    if self._replay is None:
      self._replay = self.enter_context(
        recorded.replay(self._trained, self._parts)
      )
    batch, _ = self._replay.sample()
    kept = {*self._trained.interface.obs_space, 'reward', *FLAGS}
    kept |= set(self._trained.interface.action_space)
    for row in range(len(batch['is_first'])):
      self._windows.append(
        {k: np.array(x[row]) for k, x in batch.items() if k in kept}
      )

  def _seen(self, step: Step) -> Step:
    kept = {*self._trained.interface.obs_space, 'is_first'}
    return {k: x for k, x in step.items() if k in kept}


def open_moments(trained: Trained, trust_config: bool) -> Moments:
  """Opens the moments of the run that an agent is of.

  Raises:
    UntrustedError: Its config names code and is not trusted.
  """
  return Moments(trained, recorded.config(trained, trust_config))
