"""Images of several sizes, with every encoder, decoder and way to train."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx import config as configs
from dreamer_nnx.agent.build import build
from dreamer_nnx.registry import fields
from dreamer_nnx.testing import agents, toys
from tests.filling import filled

ROWS, LENGTH = agents.ROWS, agents.LENGTH


def image(height, width, channels):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


# Two of one size with other numbers of channels, and one of another.
WIDE = {'back': image(16, 24, 1), 'front': image(16, 24, 3)}
WRIST = {'wrist': image(12, 12, 4)}
VECTORS = {'pose': toys.box(3), 'mask/button': gs.Box(0, 1, (3,), np.float32)}
SPACE = WIDE | WRIST | VECTORS
ACTIONS = toys.ACTIONS['both']
SIZES = agents.SIZES | {
  'encoder.vit.patch': 4,
  'behavior.actor_critic.policy.name': 'masked',
  'augmentations.names': ('random_shift', 'crop'),
  'objectives.names': ('barlow', 'infonce', 'dreamerpro', 'masks'),
  'objectives.dreamerpro.prototypes': 8,
}
CPU, ACCELERATOR = (
  {'precision.compute': compute, 'precision.device': device}
  for compute, device in (('float32', 'cpu'), ('bfloat16', 'accelerator'))
)


def agent_of(space=SPACE, **changes):
  config = configs.base()
  named = {k.replace('__', '.'): v for k, v in changes.items()}
  configs.apply(config, SIZES | named)
  bound = configs.bind_all(config)
  parts = {name: bound[name] for name in fields(build)}
  return lambda rngs: build(space, ACTIONS, **parts, rngs=rngs)


def batch_of(agent):
  batch = agents.batch_of(agent)
  batch['mask/button'] = jnp.ones_like(batch['mask/button'])
  return batch


@pytest.mark.parametrize(
  ('encoder', 'decoder', 'precision'),
  [
    ('simple', 'simple', ACCELERATOR),
    pytest.param('resnet', 'simple', CPU, marks=pytest.mark.whole),
    ('vit', 'resnet', ACCELERATOR),
    ('mlp', 'resnet', CPU),
    pytest.param('vit', 'none', CPU, marks=pytest.mark.whole),
  ],
)
def test_every_encoder_and_decoder_takes_several_sizes(
  encoder, decoder, precision
):
  make = agent_of(encoder__name=encoder, decoder__name=decoder, **precision)

  def results():
    agent = make(nnx.Rngs(0))
    batch, carry = batch_of(agent), agent.initial(ROWS)
    _, videos = agent.report(carry, batch, jax.random.key(0), length=LENGTH)
    return agents.loss_of(agent, batch)[1]['losses'], videos

  losses, videos = jax.eval_shape(results)
  keys = () if decoder == 'none' else (*WIDE, *WRIST)
  assert losses.keys() >= {'barlow', 'infonce', 'swav', 'mask/button', *keys}
  for key in keys:
    assert losses[key].shape == (ROWS, LENGTH)
  # Truth, prediction and error below each other, in a border of 2 pixels.
  assert {key: video.shape for key, video in videos.items()} == {
    key: (LENGTH, 3 * height + 4, ROWS * (width + 4), 3)
    for key in keys
    for height, width, _ in [SPACE[key].shape]
  }


def test_every_size_learns_alike_in_the_forms_of_all_devices():
  obs = toys.values(SPACE, (2, 3))
  feat = toys.features({'deter': 8, 'stoch': 6}, (2, 3), 0, jnp.float32)

  def results(device):
    changes = {'precision__compute': 'float32', 'precision__device': device}
    agent = filled(agent_of(**changes))
    graph, params = nnx.split((agent.encoder, agent.decoder))

    def loss(params):
      encoder, decoder = nnx.merge(graph, params)
      drawn = {k: x for k, x in decoder(feat).items() if k not in VECTORS}
      losses = {k: x.loss(obs[k] / jnp.float32(255)) for k, x in drawn.items()}
      return toys.functional((encoder(obs), losses)), losses

    slopes, losses = jax.jit(jax.grad(loss, has_aux=True))(params)
    slopes = {'/'.join(map(str, p)): x for p, x in nnx.to_flat_state(slopes)}
    return losses, {k: np.asarray(x[...]) for k, x in slopes.items()}

  losses, found = results('cpu')
  expected, others = results('accelerator')
  assert losses.keys() == WIDE.keys() | WRIST.keys()
  for key, x in losses.items():
    np.testing.assert_allclose(x, expected[key], rtol=1e-4)
  for name, x in found.items():
    np.testing.assert_allclose(x, others[name], rtol=1e-3, atol=1e-3)
  for size in ('12x12', '16x24'):
    own = [x for k, x in found.items() if f'/images/sizes/{size}/' in k]
    assert len(own) > 10 and all((x != 0).any() for x in own)


@pytest.mark.parametrize('name', ['simple', 'resnet', 'vit'])
def test_tokens_of_each_size_are_those_of_its_own_network(name):
  encoder = filled(agent_of(encoder__name=name, **CPU)).encoder
  obs = toys.values(SPACE, (2, 3))
  encode = jax.jit(lambda obs: encoder(obs))
  tokens = np.asarray(encode(obs))
  sizes = encoder.images.sizes
  assert encoder.images.order == ('12x12', '16x24')
  parts = [encoder.vectors, *(sizes[x] for x in encoder.images.order)]
  assert encoder.token_size == sum(part.output_size for part in parts)
  bounds = np.cumsum([part.output_size for part in parts])
  assert sizes['16x24'].keys == ('back', 'front')
  seen = {'wrist': 1, 'back': 2, 'front': 2}
  for key, place in seen.items():
    changed = encode(obs | {key: 255 - obs[key]}) != tokens
    areas = [x.any() for x in np.split(changed, bounds[:-1], -1)]
    assert areas == [i == place for i in range(3)], key


def test_one_size_alone_needs_no_name_of_it():
  agent = filled(agent_of(WIDE | VECTORS, encoder__name='resnet'))
  for part in (agent.encoder, agent.decoder):
    names = [
      '/'.join(map(str, p)) for p, _ in nnx.to_flat_state(nnx.state(part))
    ]
    assert any(x.startswith('images/convs/0/kernel') for x in names)
    assert not any('sizes' in x for x in names)


@pytest.mark.parametrize('name', ['simple', 'resnet'])
def test_each_size_is_drawn_by_its_own_network(name):
  decoder = filled(agent_of(decoder__name=name, **CPU)).decoder
  rng, space = np.random.default_rng(0), {'deter': 8, 'stoch': 6}
  feat = {k: np.float32(rng.normal(size=(2, n))) for k, n in space.items()}
  draw = lambda part: {k: x.pred() for k, x in part(feat).items()}
  found, apart = jax.jit(
    lambda: (draw(decoder), [draw(x) for x in decoder.images.sizes.values()])
  )()
  alone = {key: x for part in apart for key, x in part.items()}
  assert alone.keys() == WIDE.keys() | WRIST.keys()
  for key, mean in alone.items():
    assert mean.shape == (2, *SPACE[key].shape)
    np.testing.assert_array_equal(found[key], mean)
