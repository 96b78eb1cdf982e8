"""Comparisons of environments that differ in a seed, or in their actions."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs import playing
from dreamer_nnx.envs.playing import Action
from dreamer_nnx.envs.rules import WARNING, Finding, Step

Make = Callable[[int], VectorEnv]
Act = Callable[[VectorEnv], Callable[[int, Step], Action]]
# What each environment did: of each, the digest of each step.
Traces = tuple[tuple[int, ...], ...]


def compared(make: Make, seed: int, steps: int) -> Iterator[Finding]:
  """Findings about seeds and actions, from further environments.

  Args:
    make: Makes W environments from a seed.

  Raises:
    EnvError: They break down.
  """
  alike = lambda envs: playing.randomly(envs, 2, alike=True)
  base, names = traced(make, seed, steps, alike)
  again, _ = traced(make, seed, steps, alike)
  other, _ = traced(make, seed + 1, steps, alike)
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
  if repeats:
    yield from _ignored(make, seed, steps, names)


def _unseeded(who: str, steps: int) -> Finding:
  return Finding(
    WARNING,
    'seeds',
    f'{who} did the same for {steps} steps.',
    'Right if nothing is drawn; else draw from self.np_random, which '
    'reset(seed=...) seeds.',
  )


def _ignored(
  make: Make, seed: int, steps: int, names: Sequence[str]
) -> Iterator[Finding]:
  """Actions of which nothing depends on what they are."""
  run = lambda *chosen: traced(make, seed, steps, _fixed(*chosen))[0]
  low = run('', False)
  for name in names:
    if low == run(name, False) == run(name, True):
      yield Finding(
        WARNING,
        f'ignored {name}',
        f'the action {name!r} seems to be ignored: its lowest values, its '
        f'highest and random ones gave the same {steps} steps.',
        'Look at how step uses it.',
      )


def _fixed(name: str, randomly: bool) -> Act:
  """All actions at their lowest, but one at its highest, or at random."""

  def start(envs: VectorEnv) -> Callable[[int, Step], Action]:
    drawn = playing.randomly(envs, 3)
    low, high = (
      playing.edge(envs.action_space, envs.num_envs, last)
      for last in (False, True)
    )

    def act(number: int, step: Step) -> Action:
      other = drawn(number, step) if randomly else high
      return low | {k: x.copy() for k, x in other.items() if k == name}

    return act

  return start


def traced(
  make: Make, seed: int, steps: int, act: Act
) -> tuple[Traces, list[str]]:
  """Plays new environments; returns their traces, and names of actions."""
  digests: list[list[int]] = []

  def told(before: Step | None, now: Step, action: Action) -> None:
    del before, action
    rows = range(len(now['is_first']))
    digests.append([_digest(now, index) for index in rows])

  with contextlib.closing(make(seed)) as envs:
    playing.play(envs, steps, act(envs), told)
    names = sorted(envs.action_space)
  return tuple(zip(*digests, strict=True)), names


def _digest(step: Step, index: int) -> int:
  kept = spaces.stored(step)
  return hash(tuple(np.asarray(x[index]).tobytes() for x in kept.values()))
