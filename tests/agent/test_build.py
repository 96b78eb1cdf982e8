"""The wiring: what is built, in which sizes, and from what it starts."""

import re

import jax
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.agent.agent import SlowParam
from dreamer_nnx.agent.build import build, untrained_copy
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import DECODER, DYNAMICS, ENCODER, NORMALIZER

OBS_SPACE = {
  'vector': gs.Box(-np.inf, np.inf, (3,), np.float32),
  'image': gs.Box(0, 255, (8, 8, 3), np.uint8),
  'log/score': gs.Box(-np.inf, np.inf, (), np.float32),
}
ACTION_SPACE = {
  'move': gs.Box(-1, 1, (2,), np.float32),
  'jump': gs.MultiDiscrete([2, 3]),
}
CNN = dict(depth=4, mults=(2,), units=8, layers=1)
SMALL = dict(
  encoder=Choice(ENCODER, 'simple', **CNN),
  decoder=Choice(DECODER, 'simple', **CNN, bspace=4),
  dynamics=Choice(
    DYNAMICS, 'rssm', deter=8, hidden=8, stoch=2, classes=3, blocks=2
  ),
)


def abstract(obs_space=OBS_SPACE, action_space=ACTION_SPACE, **kw):
  return nnx.eval_shape(
    lambda: build(obs_space, action_space, rngs=nnx.Rngs(0), **SMALL | kw)
  )


def names(agent, kind=nnx.Param):
  flat = nnx.to_flat_state(nnx.state(agent, kind))
  return {'/'.join(map(str, path)) for path, _ in flat}


def test_log_keys_are_left_out_and_the_others_sorted():
  assert list(abstract().obs_space) == ['image', 'vector']


def test_order_of_the_observations_does_not_matter():
  turned = dict(reversed(OBS_SPACE.items()))
  shapes = lambda agent: [
    (path, x.shape) for path, x in nnx.to_flat_state(nnx.state(agent))
  ]
  assert shapes(abstract()) == shapes(abstract(turned))


def test_every_module_has_its_own_prefix():
  prefixes = {name.split('/')[0] for name in names(abstract())}
  assert prefixes == {
    'encoder',
    'dynamics',
    'decoder',
    'reward',
    'cont',
    'policy',
    'value',
  }


def test_slow_value_has_the_arrays_of_the_value_but_is_not_trained():
  agent = abstract()
  slow = names(agent, SlowParam)
  assert slow and slow == {
    name.replace('value', 'slow_value', 1)
    for name in names(agent)
    if name.startswith('value/')
  }


def test_a_copy_has_the_numbers_of_its_source():
  make = lambda seed: Linear(3, 2, precision=Precision(), rngs=nnx.Rngs(seed))
  source = make(0)
  copy = untrained_copy(make(1), source)
  np.testing.assert_array_equal(copy.kernel[...], source.kernel[...])
  assert not names(copy) and names(copy, SlowParam) == names(source)
  assert names(source) == {'kernel', 'bias'}


def test_reward_and_value_start_at_zero_and_the_policy_small():
  output_layers = jax.jit(
    lambda: {
      name: nnx.to_pure_dict(nnx.state(module))
      for name, module in heads(
        build(OBS_SPACE, ACTION_SPACE, rngs=nnx.Rngs(0), **SMALL)
      )
    }
  )()
  std = {
    name: np.concatenate(
      [np.ravel(x) for x in jax.tree.leaves(arrays) if x.ndim > 1]
    ).std()
    for name, arrays in output_layers.items()
  }
  assert std['reward'] == std['value'] == std['slow_value'] == 0
  assert 0.005 < std['policy'] * 512**0.5 < 0.02
  assert 0.5 < std['cont'] * 512**0.5 < 2


def heads(agent):
  return {
    'reward': agent.reward.head,
    'value': agent.value.head,
    'slow_value': agent.slow_value.head,
    'cont': agent.cont.head,
    'policy': nnx.List(agent.policy.heads.values()),
  }.items()


def test_norms_of_the_returns_are_those_of_the_default():
  agent = abstract()
  assert agent.retnorm.limit == 1 and agent.retnorm.averages.weight is None
  assert agent.retnorm.percentiles == (5, 95)
  assert agent.valnorm.stats() == agent.advnorm.stats() == (0, 1)


def test_components_can_be_swapped():
  agent = abstract(valnorm=Choice(NORMALIZER, 'meanstd'))
  assert agent.valnorm.averages.weight is not None
  precision = Part(Precision, param='bfloat16')
  kinds = {
    x.dtype.name
    for path, x in nnx.to_flat_state(nnx.state(abstract(precision=precision)))
    if path[-1] == 'kernel'
  }
  assert kinds == {'bfloat16'}


def test_a_component_that_does_not_fit_the_spaces_is_refused():
  space = {'image': gs.Box(0, 255, (10, 10, 3), np.uint8)}
  message = 'config.encoder.simple.mults: 2 halvings of an image of 10x10'
  encoder = Choice(ENCODER, 'simple', mults=(2, 3))
  with pytest.raises(ValueError, match=re.escape(message)):
    abstract(space, encoder=encoder)


@pytest.mark.parametrize('name', ['retnorm', 'valnorm', 'advnorm'])
def test_a_normaliser_that_would_not_learn_is_refused(name):
  choice = Choice(NORMALIZER, 'tests.agent.test_statistics:Trained')
  message = f'config.{name}.Trained: `update` changes the Param `mean`, which'
  with pytest.raises(UserError, match=re.escape(message)):
    abstract(**{name: choice.at(f'config.{name}')})


def test_an_observation_with_the_name_of_a_loss_is_refused():
  space = {'vector': OBS_SPACE['vector'], 'rew': OBS_SPACE['vector']}
  message = "config.env: the observation key 'rew' is the name of a loss"
  with pytest.raises(ValueError, match=re.escape(message)):
    abstract(space)
