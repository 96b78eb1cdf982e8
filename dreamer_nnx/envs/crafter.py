"""`crafter`: survive and make tools in a world of blocks; 22 achievements."""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Annotated, Any

import gymnasium
import numpy as np

from dreamer_nnx import paths
from dreamer_nnx.envs import packages, single
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import OneOf
from dreamer_nnx.slots import ENV

WHERE = "config.env.name = 'crafter'"
PREFIX = 'log/achievement_'
SIZE = (64, 64)
# The file of `results`, with a line for each episode.
FILE = 'stats.jsonl'


def score(percentages: Iterable[float]) -> float:
  """The Crafter score, exp(mean(ln(1 + s))) - 1, in percent.

  Source: Hafner 2021 (arXiv 2109.06780), with s the percentage of the episodes
  in which an achievement was unlocked, for each of the 22.
  """
  logs = [math.log1p(x) for x in percentages]
  return math.expm1(sum(logs) / len(logs))


class Unlocks:
  """Counts the episodes in which each achievement was unlocked."""

  def __init__(self):
    self.episodes = 0
    self._counts: dict[str, int] = {}

  def add(self, achievements: Mapping[str, float]) -> None:
    """Takes how often each was unlocked in an episode, by name."""
    self.episodes += 1
    for name, count in achievements.items():
      self._counts[name] = self._counts.get(name, 0) + (count > 0)

  def metrics(self) -> dict[str, float]:
    """The score, and how many percent of the episodes unlocked each."""
    if not self.episodes:
      return {}
    rates = {k: 100 * n / self.episodes for k, n in self._counts.items()}
    return {
      'crafter/score': score(rates.values()),
      'crafter/episodes': float(self.episodes),
      **{f'crafter/success/{name}': rate for name, rate in rates.items()},
    }


def read(file: pathlib.Path) -> Unlocks:
  """Counts the episodes of a file `stats.jsonl`; none if there is no file.

  Raises:
    UserError: It has other lines.
  """
  unlocks, prefix = Unlocks(), 'achievement_'
  if not file.exists():
    return unlocks
  for number, line in enumerate(file.read_text('utf-8').splitlines(), 1):
    try:
      found = {
        key.removeprefix(prefix): int(value)
        for key, value in json.loads(line).items()
        if key.startswith(prefix)
      }
      if not found:
        raise ValueError('it has no achievements')
    except (ValueError, TypeError, AttributeError) as error:
      text = f'line {number} is not of an episode of Crafter: {error}.'
      raise UserError(text, 'results', str(file)) from error
    unlocks.add(found)
  return unlocks


class Crafter(gymnasium.Env):
  """One game of the package `crafter` by gymnasium's interface.

  Episodes end with the player's death, which is terminal, or are cut off after
  10,000 steps. Each seed is a sequence of worlds, one an episode, and the same
  actions lead to the same steps in them, see `reproducible`.

  Beside `image` it observes for the loggers `log/reward`, the reward whether
  or not it is given, and how often each achievement was unlocked so far in the
  episode, `log/achievement_*`.

  Args:
    rewarded: Whether the reward is given, or is 0.
    size: Height and width of the image.
    seed: Of the worlds, until `reset` is given one.
  """

  def __init__(self, rewarded: bool, size: tuple[int, int], seed: int):
    library = packages.load('crafter', 'crafter', WHERE)
    reproducible(library)
    self._make, self._env = library.Env, None
    height, width = size
    self._fields = {'size': (width, height), 'reward': rewarded}
    self._seed = seed
    constants = library.constants
    self._names = {k: f'{PREFIX}{k}' for k in constants.achievements}
    number = gymnasium.spaces.Box(-np.inf, np.inf, (), np.float32)
    image = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
    logged = dict.fromkeys(('log/reward', *self._names.values()), number)
    self.observation_space = gymnasium.spaces.Dict({'image': image, **logged})
    self.action_space = gymnasium.spaces.Discrete(len(constants.actions))

  def reset(self, *, seed=None, options=None) -> tuple:
    super().reset(seed=seed)
    if seed is not None or self._env is None:
      seed = self._seed if seed is None else seed
      self._env = self._make(seed=int(seed) % 2**31, **self._fields)
    image = self._env.reset()
    return self._observed(image, 0.0, dict.fromkeys(self._names, 0)), {}

  def step(self, action: int) -> tuple:
    image, reward, done, info = self._env.step(int(action))
    obs = self._observed(image, info['reward'], info['achievements'])
    died = info['discount'] == 0
    return obs, float(reward), died, bool(done) and not died, info

  def render(self) -> np.ndarray:
    return self._env.render()

  def _observed(self, image, reward, achievements):
    obs = {'image': image, 'log/reward': reward}
    for name, key in self._names.items():
      obs[key] = achievements[name]
    return obs


def reproducible(library: ModuleType) -> None:
  """Lets Crafter go the same way with the same seed and actions.

  Of the creatures in an area it draws one to take away, from a set that is
  ordered by their addresses in memory. With equal hashes the order of a set
  is a matter of how it was filled alone.
  """
  library.objects.Object.__hash__ = _equal_hash


def _equal_hash(creature: Any) -> int:
  del creature
  return 0


class CrafterVectorEnv(GymVectorEnv):
  """W games, and the score over the episodes since the last `reset`.

  Beside what `GymVectorEnv` counts `stats` gives `crafter/score`,
  `crafter/episodes` and `crafter/success/*`. Episodes that a fault has cut do
  not count.
  """

  def __init__(self, *arguments: Any, **options: Any):
    super().__init__(*arguments, **options)
    self.unlocks = Unlocks()
    self.file: pathlib.Path | None = None

  def record(self, folder: str) -> None:
    """Appends a line to `stats.jsonl` in a folder for each episode.

    Those that are there count for the score, too.

    Raises:
      UserError: It cannot be written, or has other lines.
    """
    if paths.in_bucket(folder):
      raise UserError('must be a local folder.', 'results', folder)
    self.file = pathlib.Path(folder) / FILE
    try:
      self.file.parent.mkdir(parents=True, exist_ok=True)
      self.file.open('a').close()
    except OSError as error:
      raise UserError(f'{error}.', 'results', folder) from error

  def reset(self) -> dict[str, np.ndarray]:
    self.unlocks = read(self.file) if self.file else Unlocks()
    self._sums = np.zeros(self.num_envs)
    self._lengths = np.zeros(self.num_envs, int)
    return super().reset()

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    step = super().step(action)
    first = step['is_first']
    self._sums = np.where(first, 0.0, self._sums) + step['log/reward']
    self._lengths = np.where(first, 0, self._lengths + 1)
    for index in np.flatnonzero(step['is_last'] & ~self.cut):
      self._finish(index, step)
    return step

  def stats(self) -> dict[str, float]:
    return super().stats() | self.unlocks.metrics()

  def _finish(self, index, step):
    unlocked = {
      key.removeprefix(PREFIX): int(value[index])
      for key, value in step.items()
      if key.startswith(PREFIX)
    }
    self.unlocks.add(unlocked)
    if self.file is None:
      return
    line = {
      'episode': self.unlocks.episodes,
      'length': int(self._lengths[index]),
      'reward': round(float(self._sums[index]), 1),
      **{f'achievement_{k}': v for k, v in unlocked.items()},
    }
    with self.file.open('a', encoding='utf-8') as file:
      file.write(f'{json.dumps(line)}\n')


@ENV.register('crafter')
@single.with_options
def crafter(
  *,
  num_envs,
  seed,
  task: Annotated[str, OneOf('reward', 'noreward')] = 'reward',
  results: str = '',
  options: single.Options,
) -> CrafterVectorEnv:
  """Makes W games of Crafter, drawn at `image_size`, or 64x64 pixels.

  Source: Hafner 2021, *Benchmarking the spectrum of agent capabilities*
  (arXiv 2109.06780).

  Args:
    task: 'reward', or 'noreward', of which the reward is only logged.
    results: A local folder. `stats.jsonl` in it gets a line for each training
      episode, as the tools of the benchmark read it; a run that goes on
      appends. '' writes none.

  Raises:
    UserError: If the package is not installed, or for fields out of range.
  """
  packages.check('crafter', WHERE)
  size = options.image_size or SIZE
  fields = {'rewarded': task == 'reward', 'size': tuple(size)}
  envs = single.vectorize(
    single.Maker(Crafter, fields, seed),
    options,
    num_envs=num_envs,
    seed=seed,
    where=WHERE,
    kind=CrafterVectorEnv,
  )
  if results:
    try:
      envs.record(results)
    except BaseException:
      envs.close()
      raise
  return envs
