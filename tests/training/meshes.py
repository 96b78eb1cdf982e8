"""Trains one small agent on a device and on meshes of eight; prints JSON.

A program of its own, as the number of devices is fixed when JAX starts:

  XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m ... NAMES
"""

import json
import re
import sys

import jax
import numpy as np
from gymnasium import spaces as gym_spaces

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.training import sharding
from dreamer_nnx.training.sharding import MeshOptions

UPDATES = 5
MESHES = {
  'one': MeshOptions(),
  'data': MeshOptions(data=8),
  'fsdp': MeshOptions(data=1, fsdp=8),
  'all': MeshOptions(data=2, fsdp=2, tensor=2),
}
OBS = {
  'image': gym_spaces.Box(0, 255, (8, 8, 3), np.uint8),
  'vector': gym_spaces.Box(-1, 1, (5,), np.float32),
}
ACTIONS = {'action': gym_spaces.Discrete(3)}
SMALL = {
  '**.units': 16,
  '**.depth': 8,
  '**.mults': (2,),
  '**.layers': 1,
  'dynamics.rssm.deter': 32,
  'dynamics.rssm.hidden': 16,
  'dynamics.rssm.stochastic.categorical.stoch': 4,
  'dynamics.rssm.stochastic.categorical.classes': 4,
  'agent.imag_length': 3,
  'train.batch_size': 8,
  'train.batch_length': 4,
}
COLLECTIVES = ('all-gather', 'all-reduce', 'reduce-scatter')


def make_config() -> configs.ConfigDict:
  config = configs.base()
  configs.apply(config, SMALL)
  return config


def batch_of(learner, config, seed: int) -> dict:
  """Random numbers in the right ranges."""
  rng = np.random.default_rng(seed)
  rows = (config.train.batch_size, 1 + config.train.batch_length)
  batch = {CONSEC: np.zeros(rows[0], np.int32)}
  for name, x in workflow.step_spaces(OBS, ACTIONS, learner).items():
    shape = (*rows, *x.shape)
    if x.dtype == np.uint8:
      values = rng.integers(0, 256, shape)
    elif name == 'action':
      values = rng.integers(0, 3, shape)
    elif x.dtype == bool:
      values = rng.random(shape) < 0.1
    else:
      values = rng.normal(size=shape)
    batch[name] = values.astype(x.dtype)
  return batch


def train(options: MeshOptions, count: int) -> dict:
  """Losses and everything else after some updates on `count` devices."""
  config = make_config()
  mesh = sharding.make_sharding(options, jax.devices()[:count])
  learner = workflow.make_learner(config, OBS, ACTIONS, mesh)
  state = learner.init(0)
  carry = learner.initial_rows(config.train.batch_size)
  first = batch_of(learner, config, 0)
  rows = jax.device_put((carry, first), mesh.batch)
  text = learner._train.lower(state, *rows).compile().as_text()
  losses = []
  for seed in range(UPDATES):
    batch = sharding.put_rows(mesh, batch_of(learner, config, seed))
    state, carry, back, metrics = learner.train_step(state, carry, batch)
    losses.append(float(metrics['opt/loss']))
  acting = learner.acting(state)
  return {
    'losses': losses,
    'state': {k: np.asarray(x) for k, x in state.items() if k != 'key'},
    'acting': {k: np.asarray(x) for k, x in acting.items()},
    'placed': all(
      x.sharding == learner.abstract[k].sharding for k, x in state.items()
    ),
    'rows': [len(s.data) for s in back['signal/model'].addressable_shards],
    'text': text,
  }


def gathered(text: str) -> list[str]:
  """Shapes of what a compiled module gathers."""
  return re.findall(r'= (\w+\[[\d,]*\])\S* all-gather(?:-start)?\(', text)


def gap(one: dict, other: dict) -> dict[str, float]:
  """Largest difference of each array, relative to its largest number."""
  return {
    name: float(np.abs(x - other[name]).max() / max(np.abs(x).max(), 1e-8))
    for name, x in one.items()
  }


def main(*names: str) -> None:
  names = ('one', *names)
  runs = {k: train(MESHES[k], 1 if k == 'one' else 8) for k in names}
  result = {}
  for name, run in runs.items():
    text = run['text']
    result[name] = {
      'losses': run['losses'],
      'gaps': gap(runs['one']['state'], run['state']),
      'acting': gap(run['acting'], {k: run['state'][k] for k in run['acting']}),
      'placed': run['placed'],
      'rows': run['rows'],
      'gathered': gathered(text),
      'collectives': {
        kind: len(re.findall(rf' {kind}(?:-start)?\(', text))
        for kind in COLLECTIVES
      },
    }
  print(json.dumps(result))


if __name__ == '__main__':
  main(*sys.argv[1:])
