"""Every encoder: any mix of keys, leading axes and formats, and in an agent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx import config as configs
from dreamer_nnx import overrides
from dreamer_nnx.agent.build import build
from dreamer_nnx.encoders.mlp import MLPEncoder
from dreamer_nnx.encoders.resnet import ResNetEncoder
from dreamer_nnx.encoders.vit import ViTEncoder
from dreamer_nnx.registry import fields
from dreamer_nnx.testing import agents, pairs, toys
from tests.encoders.observing import IMAGES, SPACE, VECTORS, make, observe

SMALL = {'layers': 1, 'units': 4}
ENCODERS = {
  'resnet': (ResNetEncoder, {'depth': 2, 'mults': (2,), 'blocks': 1}),
  'vit': (ViTEncoder, {'depth': 2, 'patch': 4, 'blocks': 1, 'heads': 2}),
  'mlp': (MLPEncoder, {}),
}
NAMES = pytest.mark.parametrize('name', ENCODERS)


def encoder_of(name, space=SPACE, compute='float32'):
  builder, options = ENCODERS[name]
  return make(builder, space, compute, **SMALL | options)


@NAMES
def test_any_mix_of_keys_with_any_leading_axes(name):
  kinds = {'goal': VECTORS['goal']}, IMAGES, {'front': IMAGES['front']}, SPACE
  for space in kinds:
    encoder = encoder_of(name, space)
    for batch in ((), (3,), (2, 3), (2, 1, 3)):
      shape = jax.eval_shape(encoder, observe(*batch, space=space)).shape
      assert shape == (*batch, encoder.token_size)


@NAMES
def test_rows_and_order_of_keys_do_not_matter(name):
  encode, obs = jax.jit(encoder_of(name)), observe(2, 3)
  tokens = np.asarray(encode(obs))
  turned = dict(reversed(obs.items())) | {'reward': np.ones((2, 3))}
  flat = {k: v.reshape(6, *v.shape[2:])[::-1] for k, v in turned.items()}
  np.testing.assert_allclose(
    encode(flat)[::-1].reshape(tokens.shape), tokens, atol=1e-5
  )


@NAMES
def test_every_key_is_seen(name):
  encode, obs = jax.jit(encoder_of(name)), observe(4)
  tokens = encode(obs)
  for key, x in obs.items():
    # The rows in another order, of this key alone.
    assert (encode(obs | {key: x[::-1]}) != tokens).any(), key


def encoded(encoder, obs):
  """Tokens; parameters are arguments, as XLA 0.12 folds no bfloat16 ones."""
  graph, state = nnx.split(encoder)
  return jax.jit(lambda state, obs: nnx.merge(graph, state)(obs))(state, obs)


@NAMES
def test_bfloat16_is_near_float32(name):
  obs = observe(2)
  found = encoded(encoder_of(name, compute='bfloat16'), obs)
  assert found.dtype == jnp.bfloat16
  exact = encoded(encoder_of(name), obs)
  assert exact.dtype == jnp.float32
  # 8 bits of mantissa through up to five layers, on values up to 4.
  np.testing.assert_allclose(found.astype(np.float32), exact, atol=0.08)


def parts_of(*flags):
  """The parts of an agent that flags alone choose, at toy size."""
  config = configs.base()
  configs.apply(config, agents.SIZES)
  assert overrides.override(config, ['', *flags]) == ['']
  bound = configs.bind_all(config)
  return {name: bound[name] for name in fields(build)}


@NAMES
def test_an_agent_has_gradients_of_it_from_flags_alone(name):
  parts = parts_of(
    f'--config.encoder.name={name}', '--config.decoder.name=none'
  )
  spaces = toys.observations()['both'], toys.ACTIONS['both']

  def slopes():
    agent = build(*spaces, **parts, rngs=nnx.Rngs(0))
    assert isinstance(agent.encoder, ENCODERS[name][0])
    batch = agents.batch_of(agent)
    loss = lambda agent: agents.loss_of(agent, batch)[0]
    return nnx.state(nnx.grad(loss)(agent).encoder)

  assert len(jax.tree.leaves(jax.eval_shape(slopes))) > 2


@pytest.mark.slow
def test_images_are_encoded_decoded_and_augmented_in_training():
  flags = (
    '--config.env.custom.arguments=image=True',
    '--config.encoder.name=resnet',
    '--config.decoder.name=resnet',
    '--config.augmentations.names=random_shift,crop',
    '--config.dynamics.name=gru',
  )
  assert pairs.train(pairs.Case('encoder resnet', flags)) >= 2
