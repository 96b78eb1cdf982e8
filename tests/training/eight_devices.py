"""Trains the linear agent on one and on eight devices; prints differences.

A program of its own, as the number of devices is fixed when JAX starts:

  XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m ...
"""

import json

import jax
import numpy as np

from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER
from dreamer_nnx.training.sharding import data_parallel
from dreamer_nnx.training.step import Learner
from tests.agent.parts import make_agent, make_batch

B, T = 16, 3


def train(devices):
  sharding = data_parallel(devices)
  sharding.check_batch(B)
  optimizer = Choice(OPTIMIZER, 'dreamer', lr=0.01, warmup=0)()
  learner = Learner(make_agent, optimizer, sharding, batch_length=T)
  state = learner.init(0)
  carry = jax.device_put(learner.initial(B), sharding.batch)
  for seed in range(2):
    batch = jax.device_put(make_batch(B, T, seed), sharding.batch)
    state, carry, back, metrics = learner.train_step(state, carry, batch)
  del state['key']
  return {'state': state, 'carry': carry, 'back': back, 'metrics': metrics}


def rows(array):
  """How many rows each device holds."""
  return [shard.data.shape[0] for shard in array.addressable_shards]


def main():
  one, eight = train(jax.devices()[:1]), train(jax.devices())
  gap = lambda x, y: float(np.abs(np.asarray(x) - np.asarray(y)).max())
  result = {k: jax.tree.map(gap, one[k], eight[k]) for k in one}
  result['priority'] = rows(eight['back']['priority'])
  result['carry'] |= {'rows': rows(eight['carry']['latent']['deter'])}
  result['replicated'] = all(
    x.is_fully_replicated and len(x.addressable_shards) == 8
    for x in eight['state'].values()
  )
  print(json.dumps(result))


if __name__ == '__main__':
  main()
