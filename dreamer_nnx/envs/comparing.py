"""Comparisons of environments that differ in a seed, or in their actions."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs import playing
from dreamer_nnx.envs.playing import Action
from dreamer_nnx.envs.rules import NOTE, WARNING, Finding, Step

Make = Callable[[int], VectorEnv]
Act = Callable[[VectorEnv], Callable[[int, Step], Action]]
# What each environment did: of each, the digest of each step.
Traces = tuple[tuple[int, ...], ...]
# Steps that say something.
LEAST = 10
SEEDS = 'seeds'


class OutOfTime(Exception):
  """There is no time for a further play."""


class Comparison:
  """Plays of further environments, within a time for all of them.

  Args:
    make: Makes W environments from a seed.
    names: Of the actions.
    steps: Steps of each play.
    seconds: For all plays together.

  Attributes:
    steps: Steps of each play; fewer, if the first has no time for more.
    restarts: Crashes and hangs of all environments so far.
  """

  def __init__(
    self,
    make: Make,
    seed: int,
    names: Sequence[str],
    steps: int,
    seconds: float,
  ) -> None:
    self._make, self._seed, self._names = make, seed, sorted(names)
    self._seconds, self._end = seconds, time.monotonic() + seconds
    self._left = [SEEDS, *map(repr, self._names)]
    self._begun = False
    self.steps, self._asked, self.restarts = steps, steps, 0

  def found(self) -> Iterator[Finding]:
    """Findings about seeds and actions, and what there was no time for.

    Raises:
      EnvError: They break down.
    """
    limit = f'as all of them have {self._seconds:g} seconds.'
    try:
      yield from self._compared()
    except OutOfTime:
      what = f'comparisons of {", ".join(self._left)} were left out, {limit}'
      yield Finding(NOTE, 'comparisons', what)
    if self._begun and self.steps < self._asked:
      what = f'comparisons had {self.steps} steps, not {self._asked}, {limit}'
      yield Finding(NOTE, 'compared steps', what)

  def _compared(self) -> Iterator[Finding]:
    alike = lambda envs: playing.randomly(envs, 2, alike=True)
    base, again = self._traced(0, alike), self._traced(0, alike)
    other, steps = self._traced(1, alike), self.steps
    repeats = base == again
    if not repeats:
      yield Finding(
        WARNING,
        'repeats',
        'the same seed gives other episodes, so that runs cannot be repeated '
        '(and ignored actions not be found).',
        'Draw from self.np_random, which reset(seed=...) seeds.',
      )
    if len(base) > 1 and base[0] == base[1]:
      yield _unseeded('environments 0 and 1, with seeds of their own,', steps)
    elif base[0] == other[0]:
      yield _unseeded('environments with different seeds', steps)
    self._left.remove(SEEDS)
    if repeats:
      yield from self._ignored()

  def _ignored(self) -> Iterator[Finding]:
    """Actions of which nothing depends on what they are."""
    low = self._traced(0, Fixed())
    for name in self._names:
      runs = [Fixed(name, randomly) for randomly in (False, True)]
      same = all(low == self._traced(0, run) for run in runs)
      if same and any(run.differed for run in runs):
        yield Finding(
          WARNING,
          f'ignored {name}',
          f'the action {name!r} seems to be ignored: its lowest values, its '
          f'highest and random ones gave the same {self.steps} steps.',
          'Look at how step uses it.',
        )
      self._left.remove(repr(name))

  def _traced(self, seed: int, act: Act) -> Traces:
    """Plays new environments; returns what each of them did.

    Raises:
      OutOfTime: They have not done all steps.
    """
    digests: list[list[int]] = []

    def told(before: Step | None, now: Step, action: Action) -> None:
      del before, action
      rows = range(len(now['is_first']))
      digests.append([_digest(now, index) for index in rows])

    begin = time.monotonic()
    if begin >= self._end:
      raise OutOfTime
    # The first play decides how many steps all have time for.
    plays = 1 if self._begun else 4 + 2 * len(self._names)
    end = begin + (self._end - begin) / plays
    with contextlib.closing(self._make(self._seed + seed)) as envs:
      try:
        left = end - time.monotonic()
        playing.play(envs, self.steps, act(envs), told, left)
      finally:
        self.restarts += int(envs.stats().get('env/restarts', 0))
    done = len(digests) - 1
    if done < (self.steps if self._begun else min(LEAST, self.steps)):
      raise OutOfTime
    self._begun, self.steps = True, done
    return tuple(zip(*digests, strict=True))


def _unseeded(who: str, steps: int) -> Finding:
  return Finding(
    WARNING,
    'seeds',
    f'{who} did the same for {steps} steps.',
    'Right if nothing is drawn; else draw from self.np_random, which '
    'reset(seed=...) seeds.',
  )


class Fixed:
  """All actions at the lowest that is allowed, but one.

  Args:
    name: The one that is at its highest, or at random.

  Attributes:
    differed: Whether this one was ever another than the lowest, in a step that
      does not ignore it. Masks may leave no choice.
  """

  def __init__(self, name: str = '', randomly: bool = False) -> None:
    self._name, self._randomly = name, randomly
    self.differed = False

  def __call__(self, envs: VectorEnv) -> Callable[[int, Step], Action]:
    space, count = envs.action_space, envs.num_envs
    drawn, name = playing.randomly(envs, 3), self._name

    def act(number: int, step: Step) -> Action:
      masks = spaces.masks(step)
      action = playing.edge(space, count, False, masks)
      if name:
        high = lambda: playing.edge(space, count, True, masks)
        other = drawn(number, step) if self._randomly else high()
        self.differed |= _differ(action[name], other[name], step)
        action[name] = other[name]
      return action

    return act


def _differ(a: np.ndarray, b: np.ndarray, step: Mapping[str, np.ndarray]):
  taken = ~step['is_last']
  return not np.array_equal(a[taken], b[taken])


def _digest(step: Step, index: int) -> int:
  kept = spaces.stored(step)
  return hash(tuple(np.asarray(x[index]).tobytes() for x in kept.values()))
