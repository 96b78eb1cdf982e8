"""The steps of a run, in order: config, environments, agent, replay, training.

config = overrides.load_file('demo')
parts = configs.bind_all(config)
envs = workflow.make_envs(parts)
learner = workflow.make_learner(parts, envs.obs_space, envs.action_space)
...

Each takes the bound parts of a config, or a config, which it binds itself.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import contracts, paths, streams
from dreamer_nnx.agent.build import build
from dreamer_nnx.agent.checks import check_agent
from dreamer_nnx.checks import check_optimizer, check_trained_names
from dreamer_nnx.envs.make import changed, make_vector_env
from dreamer_nnx.registry import fields
from dreamer_nnx.spacetypes import Space
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import devices, processes
from dreamer_nnx.training import sharding as meshes
from dreamer_nnx.training.actor import named
from dreamer_nnx.training.async_acting import check_alone
from dreamer_nnx.training.batch_check import step_spaces
from dreamer_nnx.training.callbacks import Callbacks
from dreamer_nnx.training.checkpoint import Checkpoints
from dreamer_nnx.training.checkpoint_fit import check_savable
from dreamer_nnx.training.evaluate import Returns, evaluate
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.options import TrainOptions
from dreamer_nnx.training.step import Learner
from dreamer_nnx.training.summaries import merged

Spaces = Mapping[str, Space]
Parts = configs.Bound | ConfigDict


def make_envs(config: Parts, env_steps: int = 0) -> contracts.VectorEnv:
  """The training environments of this process.

  A resumed run does not repeat its episodes. These alone have the field
  `results` of their config; in all processes but the first it is a folder in
  that one.
  """
  parts = configs.bind_all(config)
  train = parts['train']()
  if train.act_async:
    check_alone(processes.count())
  count = processes.local_share(train.envs, 'config.train.envs')
  place = processes.index(), env_steps
  seed = streams.seed(parts['seed'], Stream.ENVS, *place)
  choice = parts['env']
  folder = choice.values().get('results')
  if folder and processes.index():
    choice = changed(choice, results=f'{folder}/process-{processes.index()}')
  return make_vector_env(choice, count, seed, results=True)


def make_eval_envs(config: Parts) -> contracts.VectorEnv:
  """The evaluation environments of this process, with seeds of their own."""
  parts = configs.bind_all(config)
  count = max(1, parts['evaluate']().envs // processes.count())
  return make_vector_env(parts['env'], count, _evaluation_seed(parts))


def make_drawn_env(config: Parts) -> contracts.VectorEnv | None:
  """Makes the first evaluation environment once more, with its drawing.

  It is in a process of its own, and is not waited for in real time.

  Returns:
    None where the config has no field `render` for it, or sets it already.
  """
  parts = configs.bind_all(config)
  choice = parts['env']
  if choice.values().get('render') is not False:
    return None
  apart = {'render': True, 'control_rate': 0.0}
  apart |= {'workers': 'async', 'max_restarts': 0, 'step_timeout': 60.0}
  return make_vector_env(changed(choice, **apart), 1, _evaluation_seed(parts))


def _evaluation_seed(parts: configs.Bound) -> int:
  stream = Stream.EVALUATION_ENVS
  return streams.seed(parts['seed'], stream, processes.index())


def env_metrics(envs: contracts.VectorEnv) -> dict[str, float]:
  """Sums up what environments say of their episodes, in all processes.

  Of their `stats`, all but `env/*`; every process has to ask.
  """
  stats = {k: v for k, v in envs.stats().items() if not k.startswith('env/')}
  return merged(processes.gather(stats), envs)


def make_learner(
  config: Parts,
  obs_space: Spaces,
  action_space: Spaces,
  sharding: meshes.Sharding | None = None,
) -> Learner:
  """The agent and its optimiser, not yet initialised.

  Raises:
    RegistryError, ValueError: The config does not fit itself or the spaces, or
      a component breaks its contract.
    CheckpointError: An array is of a format that checkpoints do not have.
  """
  parts = configs.bind_all(config)
  sharding = sharding or meshes.make_sharding(parts['mesh']())
  train, precision = parts['train'](), parts['precision']()
  sharding.check_batch(train.batch_size)
  make_agent = functools.partial(
    build,
    obs_space,
    action_space,
    **{name: parts[name] for name in fields(build)},
  )
  optimizer, place = parts['optimizer'](), parts['optimizer'].path
  check_optimizer(optimizer, {}, place)
  paths = {k: getattr(parts[k], 'path', f'config.{k}') for k in fields(build)}
  learner = Learner(
    lambda rngs: make_agent(rngs=rngs),
    optimizer,
    sharding,
    batch_length=train.batch_length,
    loss_scaling=precision.compute_dtype == np.float16,
    check=functools.partial(
      check_agent, paths=paths, dtype=precision.compute_dtype
    ),
  )
  check_trained_names(optimizer, learner.layout.trained, place)
  check_savable({**learner.abstract, **named(learner.abstract_carry(1))})
  return learner


def computes_on(config: Parts, learner: Learner) -> str:
  """The devices of a run and its precision; a warning if one is not used."""
  used = learner.sharding.mesh.devices.flat
  precision = configs.bind_all(config)['precision']()
  text = devices.described(used, precision.compute_dtype)
  warning = devices.unused(jax.default_backend())
  return f'{text}.\nWarning: {warning}' if warning else text


def make_replay(
  config: Parts,
  obs_space: Spaces,
  action_space: Spaces,
  learner: Learner,
  workdir: paths.Path | None = None,
  scratch: str = '',
  count: int = 0,
) -> contracts.Replay:
  """The replay buffer of this process.

  It saves its steps in `workdir`, if there is one; those that it keeps on disk
  rather than in memory are in the folder `scratch`, or in one of its choice.

  Args:
    count: Processes that train together; 0 for those that there are.
  """
  parts, count = configs.bind_all(config), count or processes.count()
  train = parts['train']()
  envs, rows = shares(train, count)
  directory = workdir / 'replay' if workdir else ''
  return parts['replay'](
    spaces=step_spaces(obs_space, action_space, learner),
    num_envs=envs,
    batch_size=rows,
    batch_length=train.batch_length,
    directory=str(directory),
    seed=replay_seed(parts),
    process=processes.index(),
    processes=count,
    steps=train.steps,
    scratch=scratch,
    context_needed=learner.layout.context,
    signals=learner.layout.signals,
  )


def shares(train: TrainOptions, count: int) -> tuple[int, int]:
  """Environments, and rows of a batch, of each of so many processes.

  Raises:
    UserError: They do not divide.
  """
  return (
    processes.share(train.envs, count, 'config.train.envs'),
    processes.share(train.batch_size, count, 'config.train.batch_size'),
  )


def replay_seed(config: Parts) -> int:
  """Returns the seed of the replay buffer of this process."""
  seed = configs.bind_all(config)['seed']
  return streams.seed(seed, Stream.REPLAY, processes.index())


def make_loggers(
  config: Parts, workdir: paths.Path
) -> tuple[contracts.Logger, ...]:
  """The sinks of the metrics; the first process alone has any."""
  if not processes.first():
    return ()
  return configs.bind_all(config)['loggers'](workdir=str(workdir))


def make_callbacks(config: Parts) -> Callbacks:
  """The callbacks of this process."""
  chosen = configs.bind_all(config)['callbacks']
  return Callbacks({choice.branch: choice() for choice in chosen})


def make_checkpoints(config: Parts, workdir: paths.Path) -> Checkpoints:
  """The checkpoints of a workdir."""
  return configs.bind_all(config)['checkpoint'](
    directory=workdir / 'checkpoints'
  )


def evaluate_policy(
  config: Parts,
  learner: Learner,
  state: State,
  mode: str,
  stop: Callable[[], bool] = lambda: False,
  progress: Callable[[int, int, int], None] = lambda *counts: None,
  envs: contracts.VectorEnv | None = None,
  watch: Callable[..., None] = lambda *step: None,
) -> Returns:
  """Plays `config.evaluate.episodes` episodes, in environments of their own.

  Every process plays its part of them and returns those of all.

  Args:
    mode: `sample`, or `mode` for greedy actions.
    stop: Asked after every step whether to end early.
    progress: As `evaluate` takes it; told of the episodes of this process.
    envs: Environments to play in, left open; by default made and closed.
    watch: As `evaluate` takes it.
  """
  parts = configs.bind_all(config)
  options = parts['evaluate']()
  index, count = processes.index(), processes.count()
  with contextlib.ExitStack() as stack:
    if envs is None:
      envs = stack.enter_context(contextlib.closing(make_eval_envs(parts)))
    local = evaluate(
      learner,
      state,
      envs,
      episodes=len(range(index, options.episodes, count)),
      mode=mode,
      key=streams.key(parts['seed'], Stream.EVALUATE, index),
      max_steps=options.max_steps,
      stop=stop,
      progress=progress,
      watch=watch,
    )
  return Returns.joined(processes.gather(list(dataclasses.astuple(local))))
