"""`bsuite`: small experiments, each for one ability of an agent."""

import functools
import inspect
import pathlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import paths, schema, streams
from dreamer_nnx.envs import packages
from dreamer_nnx.envs.games import GameVectorEnv, Played
from dreamer_nnx.errors import UserError
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

WHERE = "config.env.name = 'bsuite'"


class Experiments:
  """W copies of one setting of an experiment, as `games.Games`.

  Observations are vectors of float32, also those that are grids. An end with
  discount 0 is terminal.

  Args:
    sample: One of them, to know its spaces.
    make: Makes one from a seed, with nothing yet in what bsuite counts.
    seeds: One for each.
  """

  def __init__(
    self, sample: Any, make: Callable[[int], Any], seeds: Sequence[int]
  ) -> None:
    self.num_envs, self._make, self._seeds = len(seeds), make, seeds
    seen, taken = sample.observation_spec(), sample.action_spec()
    low, high = -np.inf, np.inf
    if hasattr(seen, 'minimum'):
      low, high = seen.minimum, seen.maximum
    bound = lambda x: np.broadcast_to(x, seen.shape).reshape(-1)
    low, high = (np.asarray(bound(x), np.float32) for x in (low, high))
    self.obs_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
    self.action_space = gymnasium.spaces.Discrete(int(taken.num_values))

  def begin(self) -> np.ndarray:
    self._copies = [self._make(seed) for seed in self._seeds]
    self._last = [False] * self.num_envs
    return self._seen([copy.reset() for copy in self._copies])

  def play(self, actions: np.ndarray) -> Played:
    moves = zip(self._copies, actions.tolist(), self._last, strict=True)
    times = [
      copy.reset() if last else copy.step(move) for copy, move, last in moves
    ]
    # First steps have no reward.
    reward = np.array([time.reward or 0 for time in times], np.float32)
    self._last = [time.last() for time in times]
    alive = np.array([bool(time.discount) for time in times])
    last = np.array(self._last)
    return Played(self._seen(times), reward, last & ~alive, last & alive)

  def close(self) -> None:
    """Does nothing: no resources are held outside this process."""

  def _seen(self, times):
    seen = np.array([time.observation for time in times], np.float32)
    return seen.reshape(self.num_envs, -1)


def load(library: ModuleType, task: str, seed: int) -> Any:
  """Loads a setting, with a seed where it has none of its own.

  `bandit`, `bandit_scale`, `deep_sea` and `discounting_chain` draw nothing but
  what the seed of their setting says.
  """
  settings = dict(library.sweep.SETTINGS[task])
  name, _ = library.unpack_bsuite_id(task)
  builder = library.EXPERIMENT_NAME_TO_ENVIRONMENT[name]
  if name == 'deep_sea_stochastic':
    # Its loader has no seed, the environment that it makes has.
    settings['deterministic'] = False
    builder = library.deep_sea.load
  takes = 'seed' in inspect.signature(builder).parameters
  if takes and settings.get('seed') is None:
    settings['seed'] = int(seed) % 2**32
  return builder(**settings)


class BsuiteVectorEnv(GameVectorEnv):
  """W copies of one setting.

  Attributes:
    episodes: Number of episodes that the experiment has.
  """

  episodes = 0


@ENV.register('bsuite')
def bsuite(
  *, num_envs, seed, task: str = 'catch/0', results: str = ''
) -> BsuiteVectorEnv:
  """Makes W copies of one setting of an experiment of bsuite.

  They are stepped in this process. `reset` begins the experiment anew, with
  what bsuite counts in it.
  Source: Osband et al. 2020, *Behaviour suite for reinforcement learning*
  (arXiv 1908.03568).

  Args:
    task: Name of an experiment and number of a setting of its sweep, 'catch/0'
      to 'catch/19'; without a number it is 0. Those of MNIST are left out, for
      they download data.
    results: A local folder in which bsuite's CSV file of the training episodes
      is written, for its scores; '' writes none. It takes one environment, and
      a run that goes on needs another folder, for what bsuite counts is not
      saved.

  Raises:
    UserError: If the package is not installed, there is no such task, or
      results are there, or cannot be.
  """
  library = packages.load('bsuite.bsuite', 'bsuite', WHERE)
  task = _known(library, task)
  if results:
    _check_results(task, results, num_envs)
  sample = load(library, task, seed)
  make = functools.partial(_begun, library, task, results)
  seeds = [streams.seed(seed, Stream.RESET, i) for i in range(num_envs)]
  where = f'config.env.bsuite.task = {task!r}'
  envs = BsuiteVectorEnv(Experiments(sample, make, seeds), where)
  envs.episodes = int(sample.bsuite_num_episodes)
  return envs


def _begun(library, task, results, seed):
  """One setting, whose episodes are written to a folder if there is one."""
  env = load(library, task, seed)
  if not results:
    return env
  logging = packages.load('bsuite.logging.csv_logging', 'bsuite', WHERE)
  return logging.wrap_environment(env, task, results, overwrite=True)


def _known(library, given):
  task = given if '/' in given else f'{given}/0'
  if task.startswith('mnist'):
    raise UserError(
      'it downloads data, so it is left out. All other experiments are there.',
      'task',
      given,
    )
  settings = library.sweep.SETTINGS
  if task not in settings:
    raise UserError(
      f'bsuite has no such task.{schema.suggest(task, settings)}', 'task', given
    )
  return task


def _check_results(task, results, num_envs):
  if num_envs > 1:
    raise UserError(
      f'bsuite records one environment, and there are {num_envs}: set '
      'config.train.envs to 1.',
      'results',
      results,
    )
  if paths.in_bucket(results):
    raise UserError('must be a local folder.', 'results', results)
  folder = pathlib.Path(results)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{error}.', 'results', results) from error
  number = task.replace('/', '-')
  if found := [x for x in folder.glob('*.csv') if x.stem.endswith(number)]:
    raise UserError(
      f'{found[0].name} is there already, and bsuite cannot go on with it. '
      'Name another folder.',
      'results',
      results,
    )
