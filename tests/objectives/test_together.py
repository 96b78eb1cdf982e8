"""Objectives in an agent: what learns from them, and life without them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.slots import DECODER, OBJECTIVE, OPTIMIZER
from dreamer_nnx.testing import agents, toys
from dreamer_nnx.testing.live import compiled, program_of
from dreamer_nnx.training.pure import Pure

OBS = toys.VECTORS | {'label/demonstration': toys.box()}
ACTIONS = toys.ACTIONS['both']
SMALL = {
  'barlow': {},
  'cloning': {},
  'disagreement': {'members': 2},
  'dreamerpro': {'prototypes': 6, 'size': 4, 'rate': 0.25},
  'infonce': {'size': 4},
  'rnd': {'size': 4},
}
RATE = SMALL['dreamerpro']['rate']
LOSSES = {
  'barlow': ('barlow',),
  'cloning': ('cloning',),
  'disagreement': ('disagreement',),
  'dreamerpro': ('swav', 'temporal'),
  'infonce': ('infonce',),
  'rnd': ('rnd',),
}


def objectives(**fields):
  return Choices(
    OBJECTIVE,
    [Choice(OBJECTIVE, k, **small, **fields) for k, small in SMALL.items()],
  )


def make_pure(choices):
  def make(rngs):
    return agents.make_agent(
      OBS,
      ACTIONS,
      rngs=rngs,
      objectives=choices,
      decoder=Choice(DECODER, 'none'),
    )

  optimizer = Choice(OPTIMIZER, 'dreamer', lr=1e-2, warmup=0)()
  return Pure(make, optimizer, batch_length=agents.LENGTH)


def initial(pure):
  keys = jax.random.key(0), jax.random.key(1)
  return jax.device_get(compiled(pure.init)(*keys))


@pytest.fixture(scope='module')
def pure():
  return make_pure(objectives())


@pytest.fixture(scope='module')
def state(pure):
  return initial(pure)


@pytest.fixture(scope='module')
def batch(pure):
  return agents.batch_of(pure.layout.partial({}))

def test_a(pure, state, batch):
  import time
  t=time.time()
  s = compiled(pure.update)(state, pure.initial(agents.ROWS), batch)
  print('update', time.time()-t)
