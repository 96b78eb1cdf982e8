"""A description of what a config builds; nothing is allocated."""

import collections
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.training import sharding
from dreamer_nnx.training.layout import module_of
from dreamer_nnx.training.options import TrainOptions
from dreamer_nnx.training.pure import OPTIMIZER
from dreamer_nnx.training.step import Learner

MIB = 2**20


def describe(config: ConfigDict) -> str:
  """The resolved config, parameters per module, shapes and memory."""
  parts = configs.bind_all(config)
  envs = make_vector_env(parts['env'], 1, 0)
  try:
    obs_space, action_space = dict(envs.obs_space), dict(envs.action_space)
  finally:
    envs.close()
  mesh = sharding.planned(parts['mesh']())
  learner = workflow.make_learner(parts, obs_space, action_space, mesh)
  step = workflow.step_spaces(obs_space, action_space, learner)
  sections = {
    'Config': configs.to_json(parts),
    'Observations': lines(obs_space),
    'Actions': lines(action_space),
    'One step in replay': lines(
      {name: f'{x.shape} {x.dtype}' for name, x in step.items()}
    ),
    'Parameters': parameter_table(learner),
    'Not split': '\n'.join(learner.unsplit()) or '  nothing',
    'Notes': '\n'.join(f'  {x}' for x in learner.layout.notes) or '  none',
    'Memory': memory_table(parts['train'](), learner, step),
  }
  return '\n\n'.join(f'{title}\n{text}' for title, text in sections.items())


def lines(values: Mapping[str, Any]) -> str:
  width = max(map(len, values), default=0)
  return '\n'.join(
    f'  {name:<{width}}  {value}' for name, value in sorted(values.items())
  )


def parameter_table(learner: Learner) -> str:
  """Trained parameters of each module; shape and place of every array."""
  shapes = {k: learner.layout.shapes[k] for k in learner.layout.trained}
  modules = collections.Counter()
  for name, shape in shapes.items():
    modules[module_of(name)] += math.prod(shape.shape)
  rows = [f'  {count:>13,}  {name}' for name, count in modules.most_common()]
  rows.append(f'  {sum(modules.values()):>13,}  in all, trained')
  mesh = learner.sharding.mesh.shape
  devices = ', '.join(f'{axis} {size}' for axis, size in mesh.items())
  width = max(map(len, learner.layout.shapes))
  rows += ['', f'  on a mesh of {devices}; split over, bytes a device']
  for name in learner.layout.shapes:
    x = learner.abstract[name]
    shape = 'x'.join(map(str, x.shape)) or '-'
    taken = [axis or '-' for axis in x.sharding.spec]
    split = ','.join(taken if any(x.sharding.spec) else '-')
    rows.append(
      f'  {name:<{width}}  {shape:>18}  {x.dtype}  {split:>14}'
      f'  {size({name: x}, local=True):>12,}'
    )
  return '\n'.join(rows)


def size(
  values: Mapping[str, jax.ShapeDtypeStruct], local: bool = False
) -> int:
  """Bytes of arrays of these shapes; PRNG keys are too small to count.

  Args:
    local: Counts only the part on each device.
  """
  shape = lambda x: x.sharding.shard_shape(x.shape) if local else x.shape
  return sum(
    math.prod(shape(x)) * np.dtype(x.dtype).itemsize
    for x in values.values()
    if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  )


def memory_table(
  train: TrainOptions, learner: Learner, step: Mapping[str, Any]
) -> str:
  """Bytes of the state, of a batch, and of a full replay buffer."""
  state = learner.abstract
  optimizer = {k: v for k, v in state.items() if k.startswith(OPTIMIZER)}
  trained = {k: state[k] for k in learner.layout.trained}
  parts = {
    'parameters': trained,
    'optimiser': optimizer,
    'slow value and statistics': {
      k: v for k, v in state.items() if k not in trained | optimizer
    },
    'gradients': trained,
  }
  rows = {k: (size(v), size(v, local=True)) for k, v in parts.items()}
  batch = size(step) * train.batch_size * train.batch_length
  rows['one batch'] = batch, batch // learner.sharding.rows
  table = ['           in all        a device']
  table += [
    f'  {total / MIB:>11,.1f} MiB {part / MIB:>11,.1f} MiB  {name}'
    for name, (total, part) in rows.items()
  ]
  table.append(f'  {size(step):>12,} bytes of replay per environment step')
  return '\n'.join(table)
