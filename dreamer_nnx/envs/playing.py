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
Masks = Mapping[str, np.ndarray]


def draw(
  action_space: Mapping[str, Space],
  count: int,
  rng: np.random.Generator,
  masks: Masks | None = None,
  alike: bool = False,
) -> Action:
  """Draws actions (count, ...): of all classes alike, or even in [-1, 1].

  Args:
    masks: bool (count, Σ C) by action, of which classes are allowed.
    alike: All rows are the same, as far as their masks are.
  """
  result, rows = {}, 1 if alike else count
  for key, space in sorted(action_space.items()):
    shape = (count, *space.shape)
    if spaces.is_discrete(space):
      allowed = _allowed(space, count, (masks or {}).get(key))
      numbers = [rng.random(x.shape)[:rows] for x in allowed]
      pairs = zip(allowed, numbers, strict=True)
      drawn = [np.where(x, y, -1.0).argmax(1) for x, y in pairs]
      result[key] = np.stack(drawn, -1).reshape(shape).astype(np.int32)
    else:
      drawn = rng.uniform(-1, 1, shape).astype(np.float32)[:rows]
      result[key] = np.repeat(drawn, count // rows, 0)
  return result


def edge(
  action_space: Mapping[str, Space],
  count: int,
  last: bool,
  masks: Masks | None = None,
) -> Action:
  """Actions (count, ...) of the first or the last class allowed, or bound."""
  result = {}
  for key, space in action_space.items():
    shape = (count, *space.shape)
    if spaces.is_discrete(space):
      allowed = _allowed(space, count, (masks or {}).get(key))
      chosen = [
        x.shape[1] - 1 - x[:, ::-1].argmax(1) if last else x.argmax(1)
        for x in allowed
      ]
      result[key] = np.stack(chosen, -1).reshape(shape).astype(np.int32)
    else:
      result[key] = np.full(shape, 1.0 if last else -1.0, np.float32)
  return result


def _allowed(
  space: Space, count: int, mask: np.ndarray | None
) -> list[np.ndarray]:
  """Masks of the classes of each dimension, bool (count, C) each."""
  sizes = spaces.classes(space)
  if mask is None or mask.shape != (count, sum(sizes)):
    mask = np.ones((count, sum(sizes)), bool)
  parts = np.split(mask, np.cumsum(sizes)[:-1], 1)
  # A row that allows none allows all.
  return [x | ~x.any(1, keepdims=True) for x in parts]


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
    alike: All environments take the same, as far as their masks allow.
  """
  rng = np.random.default_rng(seed)
  space, count = envs.action_space, envs.num_envs

  def act(number: int, step: Step) -> Action:
    del number
    return draw(space, count, rng, spaces.masks(step), alike)

  return act
