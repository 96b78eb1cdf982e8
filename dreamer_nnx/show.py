"""What a config builds, from abstract values: nothing is allocated."""

import collections
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.training.step import OPTIMIZER, Learner

MIB = 2**20


def describe(config: ConfigDict) -> str:
  """The resolved config, parameters per module, shapes and memory."""
  envs = workflow.make_envs(config)
  try:
    obs_space, action_space = dict(envs.obs_space), dict(envs.action_space)
  finally:
    envs.close()
  learner = workflow.make_learner(config, obs_space, action_space)
  step = workflow.step_spaces(obs_space, action_space, learner)
  sections = {
    'Config': configs.to_json(configs.resolve(config)),
    'Observations': lines(obs_space),
    'Actions': lines(action_space),
    'One step in replay': lines(
      {name: f'{x.shape} {x.dtype}' for name, x in step.items()}
    ),
    'Parameters': parameter_table(learner),
    'Memory': memory_table(config, learner, step),
  }
  return '\n\n'.join(f'{title}\n{text}' for title, text in sections.items())


def lines(values: Mapping[str, Any]) -> str:
  width = max(map(len, values), default=0)
  return '\n'.join(
    f'  {name:<{width}}  {value}' for name, value in sorted(values.items())
  )


def parameter_table(learner: Learner) -> str:
  """Trained parameters of each module, and the shape of every array."""
  shapes = {k: learner.layout.shapes[k] for k in learner.layout.trained}
  modules = collections.Counter()
  for name, shape in shapes.items():
    modules[name.partition('/')[0]] += math.prod(shape.shape)
  rows = [f'  {count:>13,}  {name}' for name, count in modules.most_common()]
  rows.append(f'  {sum(modules.values()):>13,}  in all, trained')
  width = max(map(len, shapes))
  rows.append('')
  rows += [
    f'  {name:<{width}}  {"x".join(map(str, shape.shape)):>18}  {shape.dtype}'
    for name, shape in shapes.items()
  ]
  return '\n'.join(rows)


def size(values: Mapping[str, jax.ShapeDtypeStruct]) -> int:
  """Bytes of arrays of these shapes; PRNG keys are too small to count."""
  return sum(
    math.prod(x.shape) * np.dtype(x.dtype).itemsize
    for x in values.values()
    if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  )


def memory_table(
  config: ConfigDict, learner: Learner, step: Mapping[str, Any]
) -> str:
  """Bytes of the state, of a batch, and of a full replay buffer."""
  train = configs.bind_all(config)['train']()
  state = learner.abstract
  optimizer = {k: v for k, v in state.items() if k.startswith(OPTIMIZER)}
  trained = {k: state[k] for k in learner.layout.trained}
  batch = size(step) * train.batch_size * train.batch_length
  rows = {
    'parameters': size(trained),
    'optimiser': size(optimizer),
    'slow value and statistics': size(state) - size(trained) - size(optimizer),
    'gradients': size(trained),
    'one batch': batch,
  }
  table = [
    f'  {value / MIB:>12,.1f} MiB  {name}' for name, value in rows.items()
  ]
  table.append(f'  {size(step):>12,} bytes of replay per environment step')
  return '\n'.join(table)
