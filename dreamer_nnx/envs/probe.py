"""Probes of one gymnasium environment: what its own values break.

A vector of environments converts and copies what these return. So it shows
neither their formats nor arrays that change afterwards.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.envs import contract, playing
from dreamer_nnx.envs.faults import EnvError, describe
from dreamer_nnx.envs.fleet import Link, WorkerLost
from dreamer_nnx.envs.pacing import Pacer
from dreamer_nnx.envs.playing import Masks
from dreamer_nnx.envs.rules import ERROR, NOTE, WARNING, Finding
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.spacetypes import Space, kind

Path = tuple[Any, ...]
# Type of space: what a value may have of it, beside the format itself.
WHOLE = ('Discrete', 'MultiDiscrete', 'MultiBinary')


def probed(
  envs: GymVectorEnv, seed: int, steps: int, seconds: float, rate: float = 0
) -> Iterator[Finding]:
  """Looks at the values of one environment itself, in a worker of its own.

  Args:
    seconds: Time after which it looks no more.
    rate: Steps a second; 0 for as many as there is time for.
  """
  done = 0
  try:
    with envs.another(Probe) as link:
      for new in _played(link, envs, seed, steps, seconds, rate):
        yield from new
        done += 1
  except (EnvError, WorkerLost) as error:
    why = str(error) or 'its worker was lost, or does not answer'
    what = f'one environment by itself broke down at step {done}: {why}'
    yield Finding(ERROR, 'probe', what)
  else:
    if 0 < done < steps:
      what = f'the values of one environment were looked at for {done} steps'
      limit = f'not {steps}, as there are {seconds:g} seconds for it.'
      yield Finding(NOTE, 'probe', f'{what}, {limit}')


def _played(
  link: Link,
  envs: GymVectorEnv,
  seed: int,
  steps: int,
  seconds: float,
  rate: float,
) -> Iterator[list[Finding]]:
  """Plays by random actions that masks allow; what is new in each step."""

  def ask(name: str, *given: Any) -> Any:
    link.ask(name, *given)
    return link.receive()

  if not ask('start'):
    return
  rng, pace = np.random.default_rng(seed), Pacer(rate) if rate else None
  end, over, first = time.monotonic() + seconds, True, seed
  for _ in range(steps):
    if time.monotonic() > end:
      return
    if over:
      new, masks = ask('reset', first)
      first, over = None, False
      if pace:
        pace.begin()
    else:
      action = playing.draw(envs.action_space, 1, rng, masks)
      if pace:
        pace.wait()
      new, over, masks = ask('step', *envs.interface.native_actions(action))
    yield new


class Probe:
  """Makes and steps one environment in a worker; a host, see `host.Host`.

  Args:
    make: Makes the environment as `single.Wrapped` does.
    caught: Exceptions of it that end the probe, as `EnvError`.
  """

  def __init__(
    self,
    make: Callable[[], gymnasium.Env],
    caught: tuple[type[BaseException], ...] = (Exception,),
  ) -> None:
    self._make, self._env, self._caught = make, None, caught
    self._watch: Watch | None = None

  def start(self) -> bool:
    """Makes the environment; tells whether its own values can be seen."""
    env = self._env = self._call(self._make)
    while isinstance(env, gymnasium.Wrapper):
      if isinstance(env, contract.Checked):
        self._watch = Watch(env.env)
        env.put(self._watch)
        break
      env = env.env
    return self._watch is not None

  def reset(self, seed: int | None) -> tuple[list[Finding], Masks]:
    """Begins an episode; returns what is new, and masks (1, Σ C)."""
    obs, _ = self._call(self._env.reset, seed=seed)
    return self._watch.told(), _masks(obs)

  def step(self, action: Any) -> tuple[list[Finding], bool, Masks]:
    """Takes an action of the environment.

    Returns:
      What is new, whether the episode is over, and masks (1, Σ C).
    """
    obs, _, *over, _ = self._call(self._env.step, action)
    return self._watch.told(), any(over), _masks(obs)

  def close(self) -> None:
    """Closes the environment, if there is one."""
    env, self._env = self._env, None
    if env is not None:
      self._call(env.close)

  def _call(self, function: Callable[..., Any], *given: Any, **named: Any):
    try:
      return function(*given, **named)
    except self._caught as error:
      raise EnvError(describe(error)) from error


def _masks(obs: Mapping[str, np.ndarray]) -> Masks:
  return {k: x[None] for k, x in spaces.masks(obs).items()}


class Watch(gymnasium.Wrapper):
  """Looks at the observations that pass, and at them again a step later."""

  def __init__(self, env: gymnasium.Env) -> None:
    super().__init__(env)
    self._found: dict[str, Finding] = {}
    self._new: list[Finding] = []
    self._held: list[tuple[str, np.ndarray, np.ndarray]] = []

  def told(self) -> list[Finding]:
    """Returns what was found since the last call."""
    new, self._new = self._new, []
    return new

  def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
    answer = self.env.reset(seed=seed, options=options)
    # Whatever has another form is refused by the checks around this one.
    if isinstance(answer, tuple) and len(answer) == 2:
      self._look(answer[0])
    return answer

  def step(self, action: Any) -> Any:
    answer = self.env.step(action)
    if isinstance(answer, tuple | list) and len(answer) == 5:
      self._look(answer[0])
    return answer

  def _look(self, obs: Any) -> None:
    for name, array, copy in self._held:
      if not np.array_equal(array, copy, equal_nan=array.dtype.kind == 'f'):
        self._note(_changed(name))
    self._held = []
    for path, value in arrays(obs):
      name = '/'.join(map(str, path))
      if isinstance(value, np.ndarray):
        self._held.append((name, value, value.copy()))
    for finding in formats(self.env.observation_space, obs):
      self._note(finding)

  def _note(self, finding: Finding) -> None:
    if finding.about not in self._found:
      self._found[finding.about] = finding
      self._new.append(finding)


def arrays(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
  """The entries of a nested value, and where they are."""
  if isinstance(value, Mapping):
    for key, entry in value.items():
      yield from arrays(entry, (*path, key))
  elif isinstance(value, tuple):
    for index, entry in enumerate(value):
      yield from arrays(entry, (*path, index))
  else:
    yield path, value


def formats(space: Space, value: Any, path: Path = ()) -> Iterator[Finding]:
  """Formats that are not of the space, and entries that it does not have."""
  name = '/'.join(map(str, path))
  what = f'observation {name!r}' if path else 'observation'
  if kind(space) == 'Dict' and isinstance(value, Mapping):
    for key in value.keys() - space.spaces.keys():
      yield _more(f'{what} {key!r}')
    for key in space.spaces.keys() & value.keys():
      yield from formats(space.spaces[key], value[key], (*path, key))
    return
  if kind(space) == 'Tuple' and isinstance(value, Sequence):
    for index, entry in enumerate(value[: len(space.spaces)]):
      yield from formats(space.spaces[index], entry, (*path, index))
    return
  # The loggers take any number, and numbers of Python have no format.
  if name.startswith(spaces.LOG) or type(value) in (bool, int, float):
    return
  have, want = np.asarray(value).dtype, np.dtype(space.dtype)
  # Any whole number is a class.
  fits = have == want or (kind(space) in WHOLE and have.kind in 'iub')
  if not fits:
    yield Finding(
      WARNING,
      f'format {what}',
      f'the {what} is {have}, its space {want}; it is converted.',
      f'Return np.asarray(value, np.{want}), or declare {have}.',
    )


def _more(what: str) -> Finding:
  return Finding(
    WARNING,
    f'entry {what}',
    f'the {what} is in no space, and is dropped.',
    'Add it to the observation space, or leave it out.',
  )


def _changed(name: str) -> Finding:
  what = f'observation {name!r}' if name else 'observation'
  return Finding(
    WARNING,
    f'changed {what}',
    f'the array of the {what} was changed by the next step. Here it was copied '
    'before, but wrappers that keep frames would see the new one.',
    'Return a copy: array.copy().',
  )
