"""Sums up what training reports: metrics of updates, episodes, speeds."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dreamer_nnx import compat

# Differences of rewards from here on count as a change of the reward.
REWARD_CHANGE = 0.01
# Metrics of updates that are not averaged: the last value holds.
LATEST = ('opt/updates', 'opt/lr', 'opt/grad_scale', 'opt/param_count')


class Metrics:
  """Averages the metrics of many updates without waiting for any of them.

  `add` only keeps what it is handed, which the device may still be computing;
  `result` fetches all of it at once. Beyond `window` dicts the older half,
  long since computed, is summed up, so that memory is bounded.
  """

  def __init__(self, window: int = 512):
    self._window = max(2, window)
    self._pending: list[dict[str, Any]] = []
    self._videos: dict[str, Any] = {}
    self._latest: dict[str, float] = {}
    self._sums: dict[str, float] = {}
    self._counts: dict[str, int] = {}

  def add(self, metrics: Mapping[str, Any]) -> None:
    """Takes arrays of any rank; of videos (T, H, W, C) the last one is kept."""
    videos = {k: v for k, v in metrics.items() if np.ndim(v) == 4}
    self._videos |= videos
    self._pending.append({k: v for k, v in metrics.items() if k not in videos})
    if len(self._pending) >= self._window:
      half = self._window // 2
      old, self._pending = self._pending[:half], self._pending[half:]
      self._sum(jax.device_get(old))

  def result(self) -> dict[str, float | np.ndarray]:
    """Means over all elements added per name, and videos; starts anew.

    Of the names in LATEST it is the last value. A NaN makes its mean NaN, for
    a broken loss must be seen; arrays without elements are left out.
    """
    pending, videos = jax.device_get((self._pending, self._videos))
    self._sum(pending)
    means = {name: v / self._counts[name] for name, v in self._sums.items()}
    means |= self._latest
    self._pending, self._videos, self._latest = [], {}, {}
    self._sums, self._counts = {}, {}
    return means | {name: np.asarray(video) for name, video in videos.items()}

  def _sum(self, fetched: list[dict[str, Any]]) -> None:
    for metrics in fetched:
      for name, value in metrics.items():
        array = np.asarray(value, np.float64)
        if not array.size:
          continue
        mean = float(np.mean(array))
        if name in LATEST:
          self._latest[name] = mean
          continue
        self._sums[name] = self._sums.get(name, 0.0) + mean
        self._counts[name] = self._counts.get(name, 0) + 1


class Episodes:
  """Follows the episodes of W environments and sums up the finished ones.

  Of each finished episode: `return`, the sum of its rewards; `length`, how
  many actions were taken in it; `reward_rate`, how many of these changed the
  reward by 0.01 or more, as a fraction; and of each key `log/name` the average
  `log/name/avg`, `/max` and `/sum`.
  """

  def __init__(self, num_envs: int):
    self._num_envs = num_envs
    self._running: dict[str, np.ndarray] = {}
    self._open('observations', 'return', 'changes', 'reward')
    self._count = 0
    self._totals: dict[str, list[float]] = {}

  def add(
    self, steps: Mapping[str, np.ndarray], cut: np.ndarray | None = None
  ) -> list[dict[str, float]]:
    """Adds a step (W,) of each environment.

    Args:
      steps: `reward`, `is_first`, `is_last` and any keys `log/*`, each (W,).
      cut: Which episodes were ended by a fault, (W,); these do not count.

    Returns:
      The episodes that this step finished, in the order of the environments.

    Raises:
      ValueError: An array has not the shape (W,).
    """
    logs = [key for key in steps if key.startswith('log/')]
    arrays = {key: self._array(steps, key) for key in ('reward', *logs)}
    self._reset(self._array(steps, 'is_first') > 0)
    self._advance(arrays['reward'])
    for key in logs:
      self._add_log(key, arrays[key])
    ended = self._array(steps, 'is_last') > 0
    complete = ended if cut is None else ended & ~cut
    finished = [self._finish(index) for index in np.flatnonzero(complete)]
    for episode in finished:
      self._count += 1
      for name, value in episode.items():
        total = self._totals.setdefault(name, [0.0, 0])
        total[0] += value
        total[1] += 1
    return finished

  def result(self) -> dict[str, float]:
    """Means over the episodes finished since the last result, and `count`."""
    means = {
      f'episode/{name}': total / count
      for name, (total, count) in self._totals.items()
    }
    count, self._count, self._totals = self._count, 0, {}
    return means | {'episode/count': float(count)}

  def state(self) -> dict[str, Any]:
    """JSON-able: the running episodes and the sums of the finished ones."""
    return {
      'running': {name: v.tolist() for name, v in self._running.items()},
      'totals': {name: list(total) for name, total in self._totals.items()},
      'count': self._count,
    }

  def restore(self, state: Mapping[str, Any]) -> None:
    """Continues from `state`.

    Raises:
      ValueError: It was saved with another number of environments.
    """
    state = compat.episodes(state)
    running = {k: np.array(v, np.float64) for k, v in state['running'].items()}
    saved = len(running['observations'])
    if saved != self._num_envs:
      raise ValueError(
        f'the saved episodes are of {saved} environments, there are '
        f'{self._num_envs}: use the same number to go on.'
      )
    self._running = running
    self._totals = {name: list(v) for name, v in state['totals'].items()}
    self._count = state['count']

  def _array(self, steps: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    array = np.array(steps[key], np.float64)
    if array.shape != (self._num_envs,):
      raise ValueError(
        f'{key} of shape {array.shape}: must be ({self._num_envs},), one '
        'number for each environment.'
      )
    return array

  def _open(self, *names: str) -> None:
    for name in names:
      if name not in self._running:
        self._running[name] = np.zeros(self._num_envs)

  def _reset(self, first: np.ndarray) -> None:
    for array in self._running.values():
      array[first] = 0.0

  def _advance(self, reward: np.ndarray) -> None:
    run = self._running
    moved = np.abs(reward - run['reward']) >= REWARD_CHANGE
    run['changes'] += moved & (run['observations'] > 0)
    run['reward'] = reward
    run['return'] += reward
    run['observations'] += 1

  def _add_log(self, key: str, value: np.ndarray) -> None:
    self._open(f'{key}/seen', f'{key}/sum', f'{key}/max')
    run = self._running
    higher = np.maximum(run[f'{key}/max'], value)
    run[f'{key}/max'] = np.where(run[f'{key}/seen'] > 0, higher, value)
    run[f'{key}/sum'] += value
    run[f'{key}/seen'] += 1

  def _finish(self, index: int) -> dict[str, float]:
    run = {name: float(array[index]) for name, array in self._running.items()}
    length = run['observations'] - 1
    result = {'return': run['return'], 'length': length}
    if length:
      result['reward_rate'] = run['changes'] / length
    for name in run:
      key, _, kind = name.rpartition('/')
      if kind == 'seen' and run[name] > 0:
        result[f'{key}/avg'] = run[f'{key}/sum'] / run[name]
        result[f'{key}/max'] = run[f'{key}/max']
        result[f'{key}/sum'] = run[f'{key}/sum']
    return result


class Rates:
  """Speeds of counters, in counts a second since the last call.

  `rates(env_steps=..., updates=..., trained_steps=...)` returns
  `rate/env_steps` and so on; the first call of a counter sets its origin.
  """

  def __init__(self, clock: Callable[[], float] = time.monotonic):
    self._clock = clock
    self._previous: dict[str, tuple[float, int]] = {}

  def __call__(self, **counters: int) -> dict[str, float]:
    now, result = self._clock(), {}
    for name, count in counters.items():
      then, before = self._previous.get(name, (now, count))
      if now > then:
        result[f'rate/{name}'] = (count - before) / (now - then)
      if now > then or name not in self._previous:
        self._previous[name] = now, count
    return result


class Stopwatch:
  """Seconds of training, those before the last resume included."""

  def __init__(self, clock: Callable[[], float] = time.monotonic):
    self._clock, self._before, self._start = clock, 0.0, clock()

  def __call__(self) -> float:
    return self._before + self._clock() - self._start

  def resume(self, before: float) -> None:
    """Goes on from so many seconds, now."""
    self._before, self._start = before, self._clock()
