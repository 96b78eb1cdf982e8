"""Plays environments by random actions, and keeps account of what came."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs.rules import Step
from dreamer_nnx.spacetypes import Space

Action = dict[str, np.ndarray]


def draw(
  action_space: Mapping[str, Space],
  count: int,
  rng: np.random.Generator,
  masks: Mapping[str, np.ndarray] | None = None,
) -> Action:
  """Draws actions (count, ...): of all classes alike, or even in [-1, 1].

  Args:
    masks: bool (count, Σ C) by action, of which classes are allowed.
  """
  result = {}
  for key, space in sorted(action_space.items()):
    shape = (count, *space.shape)
    if not spaces.is_discrete(space):
      result[key] = rng.uniform(-1, 1, shape).astype(np.float32)
      continue
    sizes = spaces.classes(space)
    mask = (masks or {}).get(key)
    if mask is None or mask.shape != (count, sum(sizes)):
      mask = np.ones((count, sum(sizes)), bool)
    parts = np.split(mask, np.cumsum(sizes)[:-1], 1)
    drawn = np.stack([_class(part, rng) for part in parts], -1)
    result[key] = drawn.reshape(shape).astype(np.int32)
  return result


def _class(allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """One class for each row of (W, C); a row that allows none allows all."""
  allowed = allowed | ~allowed.any(1, keepdims=True)
  return np.where(allowed, rng.random(allowed.shape), -1.0).argmax(1)


def edge(action_space: Mapping[str, Space], count: int, last: bool) -> Action:
  """Actions (count, ...) of the first or the last class, or bound."""
  result = {}
  for key, space in action_space.items():
    if spaces.is_discrete(space):
      high = np.reshape(spaces.classes(space), space.shape) - 1
      value = np.asarray(high if last else np.zeros_like(high), np.int32)
    else:
      value = np.full(space.shape, 1.0 if last else -1.0, np.float32)
    result[key] = np.repeat(value[None], count, 0)
  return result


@dataclasses.dataclass
class Seen:
  """Range of one observation key, and whether it ever changed.

  Args:
    first: Its first value, of environment 0.
  """

  first: np.ndarray
  low: float = np.inf
  high: float = -np.inf
  constant: bool = True

  def add(self, value: np.ndarray) -> None:
    """Takes (W, ...) of one step."""
    self.low = min(self.low, float(value.min()))
    self.high = max(self.high, float(value.max()))
    if self.constant:
      self.constant = bool((value == self.first).all())


@dataclasses.dataclass
class Account:
  """Statistics of the steps of W environments.

  Args:
    steps: Steps of each environment, resets not counted.
    ends: Whole episodes: their length, return, and whether a terminal ended
      them; those that a fault has cut are left out.
    seconds: In steps of all environments together.
  """

  steps: int = 0
  seconds: float = 0.0
  cut: int = 0
  ends: list[tuple[int, float, bool]] = dataclasses.field(default_factory=list)
  keys: dict[str, Seen] = dataclasses.field(default_factory=dict)
  rewards: tuple[float, float] = (np.inf, -np.inf)
  _length: np.ndarray | int = 0
  _total: np.ndarray | float = 0.0

  def add(self, step: Step, cut: np.ndarray) -> None:
    """Takes a step (W, ...) and which episodes a fault has cut in it."""
    first, reward = step['is_first'], step['reward']
    self._length = np.where(first, 0, self._length + 1)
    self._total = np.where(first, 0.0, self._total) + reward
    low, high = self.rewards
    self.rewards = min(low, float(reward.min())), max(high, float(reward.max()))
    for index in np.flatnonzero(step['is_last']):
      if cut[index]:
        self.cut += 1
        continue
      length, total = int(self._length[index]), float(self._total[index])
      self.ends.append((length, total, bool(step['is_terminal'][index])))
    for key in spaces.stored(step):
      if key in spaces.RESERVED or not step[key].size:
        continue
      if key not in self.keys:
        self.keys[key] = Seen(np.array(step[key][0]))
      self.keys[key].add(step[key])


def play(
  envs: VectorEnv,
  steps: int,
  act: Callable[[int, Step], Action],
  told: Callable[[Step | None, Step, Action], None] = lambda *parts: None,
  seconds: float = np.inf,
  account: Account | None = None,
) -> Account:
  """Plays from a reset on; `told` of each step, the one before, its action.

  Args:
    act: The actions, from the number of the step and the last one.
    seconds: Time after which no more steps are taken.
    account: What the steps are added to.
  """
  account, begin = account or Account(), time.monotonic()
  uncut = np.zeros(envs.num_envs, bool)
  before = None
  step = envs.reset()
  account.add(step, uncut)
  told(before, step, {})
  while account.steps < steps and time.monotonic() - begin < seconds:
    action = act(account.steps, step)
    before, start = step, time.perf_counter()
    step = envs.step(action)
    account.seconds += time.perf_counter() - start
    account.steps += 1
    account.add(step, getattr(envs, 'cut', uncut))
    told(before, step, action)
  return account


def randomly(
  envs: VectorEnv, seed: int, alike: bool = False
) -> Callable[[int, Step], Action]:
  """Random actions that masks allow.

  Args:
    alike: All environments take that of the first.
  """
  rng = np.random.default_rng(seed)
  space, count = envs.action_space, envs.num_envs

  def act(number: int, step: Step) -> Action:
    del number
    action = draw(space, count, rng, spaces.masks(step))
    if alike:
      action = {k: np.repeat(x[:1], count, 0) for k, x in action.items()}
    return action

  return act
