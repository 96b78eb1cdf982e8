"""`bsuite`: small experiments, each for one ability of an agent."""

import inspect
import pathlib
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import paths, schema
from dreamer_nnx.envs import packages, single
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.slots import ENV

WHERE = "config.env.name = 'bsuite'"


class Experiment(gymnasium.Env):
  """One setting of an experiment, by gymnasium's interface.

  Observations are vectors of float32, also those that are grids. An end with
  discount 0 is terminal. A seed begins the experiment anew, with what bsuite
  counts in it.

  Args:
    task: A name and the number of a setting, 'catch/0'.
    results: Folder of bsuite's CSV file; '' for none.
    seed: Until `reset` is given one.
  """

  def __init__(self, task: str, results: str, seed: int):
    self._task, self._results, self._seed = task, results, seed
    self._library = packages.load('bsuite.bsuite', 'bsuite', WHERE)
    self._env = None
    env = load(self._library, task, seed)
    seen, taken = env.observation_spec(), env.action_spec()
    low, high = -np.inf, np.inf
    if hasattr(seen, 'minimum'):
      low, high = seen.minimum, seen.maximum
    bound = lambda x: np.broadcast_to(x, seen.shape).reshape(-1)
    low, high = (np.asarray(bound(x), np.float32) for x in (low, high))
    self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
    self.action_space = gymnasium.spaces.Discrete(int(taken.num_values))
    self.episodes = int(env.bsuite_num_episodes)

  def reset(self, *, seed=None, options=None) -> tuple:
    super().reset(seed=seed)
    if seed is not None or self._env is None:
      self._env = self._begun(self._seed if seed is None else seed)
    return _vector(self._env.reset().observation), {}

  def step(self, action: int) -> tuple:
    time = self._env.step(int(action))
    last = time.last()
    died = last and not time.discount
    return _vector(time.observation), time.reward, died, last and not died, {}

  def _begun(self, seed):
    env = load(self._library, self._task, seed)
    if not self._results:
      return env
    logging = packages.load('bsuite.logging.csv_logging', 'bsuite', WHERE)
    return logging.wrap_environment(
      env, self._task, self._results, overwrite=True
    )


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


def _vector(observation):
  return np.asarray(observation, np.float32).reshape(-1)


class BsuiteVectorEnv(GymVectorEnv):
  """W copies of one setting.

  Attributes:
    episodes: Number of episodes that the experiment has.
  """

  episodes = 0


@ENV.register('bsuite')
@single.with_options
def bsuite(
  *,
  num_envs,
  seed,
  task: str = 'catch/0',
  results: str = '',
  options: single.Options,
) -> BsuiteVectorEnv:
  """Makes W copies of one setting of an experiment of bsuite.

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
      results are there.
  """
  library = packages.load('bsuite.bsuite', 'bsuite', WHERE)
  task = _known(library, task)
  if results:
    _check_results(task, results, num_envs)
  fields = {'task': task, 'results': results}
  envs = single.vectorize(
    single.Maker(Experiment, fields, seed),
    options,
    num_envs=num_envs,
    seed=seed,
    where=f'config.env.bsuite.task = {task!r}',
    kind=BsuiteVectorEnv,
  )
  envs.episodes = int(load(library, task, seed).bsuite_num_episodes)
  return envs


def _known(library, task):
  task = task if '/' in task else f'{task}/0'
  if task.startswith('mnist'):
    raise UserError(
      'it downloads data, so it is left out. All other experiments are there.',
      'task',
      task,
    )
  settings = library.sweep.SETTINGS
  if task not in settings:
    raise UserError(
      f'bsuite has no such task.{schema.suggest(task, settings)}', 'task', task
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
  number = task.replace('/', '-')
  if found := [x for x in folder.glob('*.csv') if x.stem.endswith(number)]:
    raise UserError(
      f'{found[0].name} is there already, and bsuite cannot go on with it. '
      'Name another folder.',
      'results',
      results,
    )
