"""R2-Dreamer: correlations, who learns from them, and life without decoder."""

import functools

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from experiments.variants import toys
from experiments.variants.toys import Toy, compiled

RNG = np.random.default_rng(0)
IMAGE = {
  'image': gs.Box(0, 255, (6, 6, 1), np.uint8),
  'vector': toys.OBS['vector'],
}
SIZES = {'**.simple.mults': (1,), 'encoder.simple.depth': 2}
# All else would pull at the encoder, too.
ALONE = {'objectives.barlow.scale': 1.0, 'train.batch_size': 8}


@pytest.fixture(scope='module')
def toy():
  return Toy('r2dreamer', SIZES | ALONE, IMAGE)


@pytest.fixture(scope='module')
def gradient(toy):
  """Slopes of the loss alone, of which projector and tokens are changed."""

  @compiled
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def slope(params, shift, state, scale):
    agent = toy.agent(state | params)
    _, aux = toy.loss(agent, toy.batch(0))
    replayed = aux['replayed']
    changed = type(replayed)(
      **vars(replayed) | {'tokens': scale * replayed.tokens + shift}
    )
    objective = agent.objectives['barlow']
    losses, _ = objective.losses(changed, jax.random.key(0), True)
    return losses['barlow']

  state = toy.init()
  params = {k: state[k] for k in toy.layout.trained}

  def changed(scale, shift, **new):
    shape = toy.rows, toys.STEPS, toy.agent(state).encoder.token_size
    shift = np.broadcast_to(np.float32(shift), shape)
    return slope(params | new, shift, state, scale)

  return changed


def test_only_encoder_dynamics_and_projector_have_a_gradient(gradient):
  _, (slopes, of_tokens) = gradient(1.0, 0.0)
  # The tokens are what the features shall become, and not the reverse.
  assert not of_tokens.any()
  parts = {name.split('/')[0] for name, x in slopes.items() if np.any(x)}
  assert parts == {'encoder', 'dynamics', 'objectives'}


def test_scale_and_shift_of_a_number_change_nothing(toy, gradient):
  loss, _ = gradient(1.0, 0.0)
  shape = toy.agent(toy.init()).encoder.token_size
  scale = np.exp(RNG.normal(size=shape)).astype(np.float32)
  shift = RNG.normal(size=shape).astype(np.float32)
  np.testing.assert_allclose(gradient(scale, shift)[0], loss, rtol=1e-4)
  # The last layer of the projector scales and shifts what it returns.
  state, end = toy.init(), 'objectives/barlow/projector/head/mean/linear/'
  kernel, bias = end + 'kernel', end + 'bias'
  moved = {
    kernel: state[kernel] * scale,
    bias: state[bias] * scale + shift,
  }
  np.testing.assert_allclose(gradient(1.0, 0.0, **moved)[0], loss, rtol=1e-4)
  # A number of the other sign is no scale.
  turned = gradient(-np.ones(shape, np.float32), 0.0)[0]
  assert abs(turned - loss) > 1e-3


def test_correlation_rises_in_a_hundred_updates(toy):
  batches = [toy.batch(seed) for seed in range(100)]
  found = []
  state, carry = toy.init(), toy.pure.initial(toy.rows)
  for batch in batches:
    state, carry, _, metrics = toy.update(state, carry, batch)
    found.append(float(metrics['barlow/same']))
  assert np.mean(found[-10:]) > np.mean(found[:10]) + 0.2


def test_there_is_no_decoder_and_reports_work(toy):
  state = toy.init()
  assert not [name for name in state if 'decoder' in name]
  carry, key = toy.pure.initial(toy.rows), jax.random.key(0)
  metrics, videos = compiled(toy.pure.report)(state, carry, toy.batch(0), key)
  assert videos == {}
  assert {'loss/barlow', 'loss/rew'} <= metrics.keys()
  assert not {'loss/image', 'loss/vector'} & metrics.keys()
  assert np.isfinite(list(metrics.values())).all()
