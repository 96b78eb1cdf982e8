"""The wiring: what is built, in which sizes, and from what it starts."""

import re

import jax
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.agent.build import build
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.slow_copy import SlowParam
from dreamer_nnx.registry import Choice, Choices, Part
from dreamer_nnx.slots import (
  AUGMENTATION,
  BEHAVIOR,
  DECODER,
  DYNAMICS,
  ENCODER,
  NORMALIZER,
  OBJECTIVE,
  POLICY,
  STOCHASTIC,
)

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
    DYNAMICS,
    'rssm',
    deter=8,
    hidden=8,
    blocks=2,
    stochastic=Choice(STOCHASTIC, 'categorical', stoch=2, classes=3),
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
    'behavior',
  }
  inside = {
    name.split('/')[1]
    for name in names(abstract())
    if name.startswith('behavior/')
  }
  assert inside == {'policy', 'value'}


def test_slow_value_has_the_arrays_of_the_value_but_is_not_trained():
  agent = abstract()
  slow = names(agent, SlowParam)
  assert slow and slow == {
    name.replace('/value/', '/slow_value/module/', 1)
    for name in names(agent)
    if name.startswith('behavior/value/')
  }


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
    'value': agent.behavior.value.head,
    'slow_value': agent.behavior.slow_value.module.head,
    'cont': agent.cont.head,
    'policy': nnx.List(agent.behavior.policy.heads.values()),
  }.items()


def behave(**kw):
  return {'behavior': Choice(BEHAVIOR, 'actor_critic', **kw)}


def test_norms_of_the_returns_are_those_of_the_default():
  behavior = abstract().behavior
  assert behavior.retnorm.limit == 1
  assert behavior.retnorm.averages.weight is None
  assert behavior.retnorm.percentiles == (5, 95)
  assert behavior.valnorm.stats() == behavior.advnorm.stats() == (0, 1)


def test_components_can_be_swapped():
  agent = abstract(**behave(valnorm=Choice(NORMALIZER, 'meanstd')))
  assert agent.behavior.valnorm.averages.weight is not None
  precision = Part(Precision, param='bfloat16')
  kinds = {
    x.dtype.name
    for path, x in nnx.to_flat_state(nnx.state(abstract(precision=precision)))
    if path[-1] == 'kernel'
  }
  assert kinds == {'bfloat16'}


def test_a_component_that_does_not_fit_the_spaces_is_refused():
  space = {'image': gs.Box(0, 255, (10, 10, 3), np.uint8)}
  message = (
    'config.encoder.simple.mults: 2 halvings must leave a whole 3 to 16 pixels '
    "a side of each image: 'image' has 10x10 (12x12 would do). Scale"
  )
  encoder = Choice(ENCODER, 'simple', mults=(2, 3))
  with pytest.raises(ValueError, match=re.escape(message)):
    abstract(space, encoder=encoder)


@pytest.mark.parametrize('name', ['retnorm', 'valnorm', 'advnorm'])
def test_a_normaliser_that_would_not_learn_is_refused(name):
  choice = Choice(NORMALIZER, 'tests.nn.test_statistics:Trained')
  message = (
    f'config.behavior.actor_critic.{name}.Trained: `update` changes the Param '
    '`mean`, which'
  )
  with pytest.raises(UserError, match=re.escape(message)):
    abstract(**behave(**{name: choice}))


def test_an_observation_with_the_name_of_a_loss_is_refused():
  space = {'vector': OBS_SPACE['vector'], 'rew': OBS_SPACE['vector']}
  message = "config.env: the observation key 'rew' is the name of a loss"
  with pytest.raises(ValueError, match=re.escape(message)):
    abstract(space)


LABELLED = OBS_SPACE | {
  'label/cost': gs.Box(-np.inf, np.inf, (), np.float32),
  'mask/jump': gs.Box(0, 1, (5,), np.float32),
}
MASKED = behave(policy=Choice(POLICY, 'masked'))


def test_labels_and_masks_are_kept_and_neither_encoded_nor_decoded():
  agent = abstract(LABELLED, **MASKED)
  assert list(agent.obs_space) == ['image', 'label/cost', 'mask/jump', 'vector']
  shapes = lambda agent: {
    '/'.join(map(str, path)): x.shape
    for path, x in nnx.to_flat_state(nnx.state(agent))
  }
  # Not one array more or of another shape.
  assert shapes(agent) == shapes(abstract())


@pytest.mark.parametrize(
  ('name', 'shape', 'message'),
  [
    ('move', (2,), "the action 'move', which is no discrete action"),
    ('fly', (2,), "the action 'fly', which is no discrete action"),
    ('jump', (2,), "the action 'jump', which has 5 classes, the mask is (2,)"),
    ('jump', (), "the action 'jump', which has 5 classes, the mask is ()"),
  ],
)
def test_a_mask_that_fits_no_action_is_refused(name, shape, message):
  space = OBS_SPACE | {f'mask/{name}': gs.Box(0, 1, shape, np.float32)}
  start = (
    f'config.env: the observation mask/{name} must have a number for each '
    f'class of {message}.'
  )
  with pytest.raises(UserError, match=f'^{re.escape(start)}'):
    abstract(space, **MASKED)


def test_the_default_policy_refuses_masks():
  message = (
    'config.behavior.actor_critic.policy.mlp: this policy would ignore the '
    'observation mask/jump.'
  )
  with pytest.raises(UserError, match=re.escape(message)):
    abstract(LABELLED)


def test_no_decoder_has_no_array():
  agent = abstract(decoder=Choice(DECODER, 'none'))
  every = {path[0] for path, _ in nnx.to_flat_state(nnx.state(agent))}
  assert every == {'encoder', 'dynamics', 'reward', 'cont', 'behavior'}


class Objective(nnx.Module):
  """Keeps what it is given, and one parameter."""

  def __init__(
    self, obs_space, stored_space, token_size, feat_space, *, scale: float = 1.0
  ):
    self.scale, self.token_size = scale, token_size
    self.spaces = tuple(obs_space), tuple(stored_space), tuple(feat_space)
    self.weight = nnx.Param(jax.numpy.zeros(3))

  def losses(self, replayed, key, update):
    return {}, {}


class Augmentation:
  def __init__(self, obs_space, *, scale: float = 1.0):
    self.scale, self.keys = scale, tuple(obs_space)

  def __call__(self, inputs, key):
    return inputs


MINE = f'{__name__}:Objective'
CHANGE = f'{__name__}:Augmentation'


def extended(scale=1.0):
  return dict(
    objectives=Choices(OBJECTIVE, [Choice(OBJECTIVE, MINE, scale=scale)]),
    augmentations=Choices(
      AUGMENTATION, [Choice(AUGMENTATION, CHANGE, scale=scale)]
    ),
  )


def test_objectives_and_augmentations_have_a_path_of_their_own():
  agent = abstract(LABELLED, **MASKED, **extended())
  assert names(agent) - names(abstract()) == {'objectives/Objective/weight'}
  objective = agent.objectives['Objective']
  stored = ('image', 'label/cost', 'mask/jump', 'vector')
  assert objective.spaces == (stored, stored, ('deter', 'stoch'))
  assert objective.token_size == agent.encoder.token_size
  assert agent.augmentations['Augmentation'].keys == ('image', 'vector')


def test_what_has_a_scale_of_zero_is_left_out():
  agent = abstract(**extended(0.0))
  assert not agent.objectives and not agent.augmentations
  assert names(agent) == names(abstract())
