"""`crafter`: survive and make tools in a world of blocks; 22 achievements."""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
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
PREFIX, SUCCESS = 'log/achievement_', 'crafter/success/'
EPISODES = 'crafter/episodes'
# Sums of an episode so far, which the vector reads and keeps from the loggers.
TOTAL, LENGTH = 'log/total', 'log/length'
SIZE = (64, 64)
# The least side of an image: 9 cells of 2 pixels, for what is in the inventory
# takes 0.6 of one.
LEAST = 18
# The file of `results`, with a line for each episode.
FILE = 'stats.jsonl'


def score(percentages: Iterable[float]) -> float:
  """The Crafter score, exp(mean(ln(1 + s))) - 1, in percent.

  Source: Hafner 2021 (arXiv 2109.06780), with s the percentage of the episodes
  in which an achievement was unlocked, for each of the 22.
  """
  logs = [math.log1p(x) for x in percentages]
  return math.expm1(sum(logs) / len(logs))


def metrics(episodes: float, shares: Mapping[str, float]) -> dict[str, float]:
  """The score of shares in percent by name, beside what it is of."""
  return {'crafter/score': score(shares.values()), EPISODES: episodes, **shares}


def joined(stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """The metrics of all episodes, from those of several players."""
  having = [x for x in stats if x.get(EPISODES)]
  if not having:
    return {}
  counts = [x[EPISODES] for x in having]
  shares = {
    key: float(np.average([x[key] for x in having], weights=counts))
    for key in having[0]
    if key.startswith(SUCCESS)
  }
  return metrics(sum(counts), shares)


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
    total = self.episodes
    shares = {f'{SUCCESS}{k}': 100 * n / total for k, n in self._counts.items()}
    return metrics(float(total), shares)


def read(file: pathlib.Path) -> Unlocks:
  """Counts the episodes of a file `stats.jsonl`; none if there is no file.

  A last line that was not written to its end does not count.

  Raises:
    UserError: It has other lines.
  """
  unlocks, prefix = Unlocks(), 'achievement_'
  if not file.exists():
    return unlocks
  for number, line in enumerate(_whole(file.read_bytes()).splitlines(), 1):
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


def _whole(text: bytes) -> bytes:
  """Returns lines without a last one that was not written to its end."""
  last = text[text.rfind(b'\n') + 1 :]
  try:
    json.loads(last)
  except ValueError:
    return text.removesuffix(last) if last.startswith(b'{') else text
  return text


class Crafter(gymnasium.Env):
  """One game of the package `crafter` by gymnasium's interface.

  Episodes end with the player's death, which is terminal, or are cut off after
  10,000 steps. Each seed is a sequence of worlds, one an episode, and the same
  actions lead to the same steps in them, see `reproducible`.

  Beside `image` it observes for the loggers how often each achievement was
  unlocked so far in the episode, `log/achievement_*`; the sum of its rewards,
  whether or not they are given, `log/total`; and its steps, `log/length`.

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
    logged = dict.fromkeys((TOTAL, LENGTH, *self._names.values()), number)
    self.observation_space = gymnasium.spaces.Dict({'image': image, **logged})
    self.action_space = gymnasium.spaces.Discrete(len(constants.actions))

  def reset(self, *, seed=None, options=None) -> tuple:
    super().reset(seed=seed)
    if seed is not None or self._env is None:
      seed = self._seed if seed is None else seed
      self._env = self._make(seed=int(seed) % 2**31, **self._fields)
    self._total, self._length = 0.0, 0
    image = self._env.reset()
    return self._observed(image, dict.fromkeys(self._names, 0)), {}

  def step(self, action: int) -> tuple:
    image, reward, done, info = self._env.step(int(action))
    self._total += info['reward']
    self._length += 1
    obs = self._observed(image, info['achievements'])
    died = info['discount'] == 0
    return obs, float(reward), died, bool(done) and not died, info

  def render(self) -> np.ndarray:
    return self._env.render()

  def _observed(self, image, achievements):
    obs = {'image': image, TOTAL: self._total, LENGTH: self._length}
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
  not count. Observations have `log/reward`, the reward whether or not it is
  given.
  """

  def __init__(self, *arguments: Any, **options: Any):
    super().__init__(*arguments, **options)
    self.unlocks = Unlocks()
    self.file: pathlib.Path | None = None
    self._totals = self._lengths = np.zeros(self.num_envs)

  def record(self, folder: str) -> None:
    """Appends a line to `stats.jsonl` in a folder for each episode.

    Those that are there count for the score, too, whenever they were played.

    Raises:
      UserError: It cannot be written, or has other lines.
    """
    if paths.in_bucket(folder):
      raise UserError('must be a local folder.', 'results', folder)
    self.file = pathlib.Path(folder) / FILE
    try:
      self.file.parent.mkdir(parents=True, exist_ok=True)
      self.unlocks = read(self.file)
      with self.file.open('a+b') as file:
        file.seek(0)
        whole = _whole(file.read())
        file.truncate(len(whole))
        if whole and not whole.endswith(b'\n'):
          file.write(b'\n')
    except OSError as error:
      raise UserError(f'{error}.', 'results', folder) from error

  def reset(self) -> dict[str, np.ndarray]:
    if self.file is None:
      self.unlocks = Unlocks()
    return self._rewarded(super().reset())

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    step = self._rewarded(super().step(action))
    for index in np.flatnonzero(step['is_last'] & ~self.cut):
      self._finish(index, step)
    return step

  def stats(self) -> dict[str, float]:
    return super().stats() | self.unlocks.metrics()

  def joined(self, stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Joins what several processes log; every episode counts alike."""
    return joined(stats)

  def _rewarded(self, step):
    """Puts the reward of a step in the place of what the episode has so far.

    A step of the agent may be several of the game, which adds them up.
    """
    before = np.where(step['is_first'], 0.0, self._totals)
    self._totals, self._lengths = step.pop(TOTAL), step.pop(LENGTH)
    gained = self._totals - before
    # Rewards are tenths.
    return {**step, 'log/reward': np.round(gained, 1).astype(np.float32)}

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
      'reward': round(float(self._totals[index]), 1),
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
  if min(size) < LEAST:
    text = f'it draws at least {LEAST} x {LEAST} pixels.'
    raise UserError(text, 'image_size', size)
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
