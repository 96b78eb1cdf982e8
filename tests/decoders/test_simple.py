"""The decoder: one output for each key, of its shape."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.decoders.simple import SimpleDecoder, flat_stoch
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import DECODER
from tests.filling import filled


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


VECTORS = {
  'speed': gs.Box(-np.inf, np.inf, (2, 2), np.float32),
  'goal': gs.Discrete(3),
  'buttons': gs.MultiDiscrete([2, 4]),
}
IMAGES = {'front': image(8, 12), 'back': image(8, 12, 1)}
SPACE = VECTORS | IMAGES
LATENT = {'deter': (8,), 'stoch': (2, 3)}
SMALL = dict(depth=4, mults=(1, 2), layers=1, units=4, bspace=4)


def make(space=SPACE, compute='float32', device='auto', **kw):
  precision = Precision(compute, device=device)
  return filled(
    lambda rngs: SimpleDecoder(
      space,
      LATENT,
      **SMALL | {'mults': (2,)} | kw,
      precision=precision,
      rngs=rngs,
    )
  )


def latents(*batch):
  rng = np.random.default_rng(0)
  return {
    'deter': rng.normal(size=(*batch, 8)).astype(np.float32),
    'stoch': np.eye(3, dtype=np.float32)[rng.integers(0, 3, (*batch, 2))],
  }


def predict(decoder):
  return jax.jit(lambda x: {k: o.pred() for k, o in decoder(x).items()})


@pytest.mark.parametrize(
  ('sides', 'options'),
  [
    ((16, 24), {}),
    ((16, 24), {'strided': True}),
    ((16, 24), {'bspace': 0}),
    ((8, 12), {'outer': True}),
    ((8, 12), {'outer': True, 'strided': True, 'kernel': 3}),
    ((32, 24), {'mults': (1, 3, 2)}),
    ((16, 24), {'norm': 'layer', 'act': 'gelu', 'symlog': False, 'layers': 0}),
  ],
  ids=str,
)
def test_every_key_is_predicted_in_its_shape(sides, options):
  space = VECTORS | {'front': image(*sides), 'back': image(*sides, 1)}

  def pred():
    decoder = SimpleDecoder(
      space, LATENT, **SMALL | options, precision=Precision(), rngs=nnx.Rngs(0)
    )
    recons = decoder(latents(2, 3))
    targets = {k: jnp.zeros((2, 3, *s.shape), int) for k, s in space.items()}
    losses = {k: o.loss(targets[k]) for k, o in recons.items()}
    return {k: o.pred() for k, o in recons.items()}, losses

  preds, losses = jax.eval_shape(pred)
  assert preds.keys() == space.keys()
  for key, found in preds.items():
    assert found.shape == (2, 3, *space[key].shape), key
    assert losses[key].shape == (2, 3), key


def test_image_means_are_colours_of_their_key():
  found = predict(make())(latents(5))
  for key, space in IMAGES.items():
    assert found[key].dtype == jnp.float32
    assert found[key].shape == (5, *space.shape)
    assert found[key].min() > 0 and found[key].max() < 1


def test_image_channels_are_split_in_the_order_of_the_alphabet():
  decoder = make(IMAGES)
  # The last layer's bias alone decides: sigmoid(0), then three times 40.
  decoder.images.out.bias[...] = np.float32([0, 40, 40, 40])
  decoder.images.out.kernel[...] = decoder.images.out.kernel[...] * 0
  found = predict(decoder)(latents(1))
  np.testing.assert_array_equal(found['back'], np.full((1, 8, 12, 1), 0.5))
  np.testing.assert_array_equal(found['front'], np.ones((1, 8, 12, 3)))


def test_image_loss_is_the_sum_of_squares():
  decoder = make(IMAGES)
  target = np.random.default_rng(1).random((2, 8, 12, 3)).astype(np.float32)
  loss = jax.jit(lambda x: decoder(x)['front'].loss(target))(latents(2))
  mean = np.asarray(predict(decoder)(latents(2))['front'])
  expected = np.square(mean - target).sum((1, 2, 3))
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_one_image_drawn_a_few_at_a_time_is_the_same(monkeypatch):
  monkeypatch.setattr('dreamer_nnx.nn.forms.NUMBERS', 1)
  target = np.random.default_rng(1).random((2, 3, 8, 12, 3)).astype(np.float32)

  def results(decoder):
    def loss(x):
      output = decoder(x)['front']
      return output.loss(target).sum(), (output.loss(target), output.pred())

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(latents(2, 3))

  space = {'front': IMAGES['front']}
  found, expected = (
    results(make(space, device=name)) for name in ('cpu', 'accelerator')
  )
  assert found[0][1][0].shape == (2, 3)
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('symlog', [True, False])
def test_vector_loss_is_to_the_squashed_target(symlog):
  decoder = make(VECTORS, symlog=symlog)
  target = np.float32([[[1, -20], [0, 3]]])
  output = decoder(latents(1))['speed']
  wanted = np.sign(target) * np.log1p(np.abs(target)) if symlog else target
  expected = np.square(np.asarray(output.pred()) - wanted).sum((1, 2))
  np.testing.assert_allclose(output.loss(target), expected, rtol=1e-5)


def test_leading_axes_and_order_of_rows_do_not_matter():
  decode, x = predict(make()), latents(2, 3)
  found = decode(x)
  flat = {k: v.reshape(6, *v.shape[2:])[::-1] for k, v in x.items()}
  for key, y in decode(flat).items():
    expected = np.asarray(found[key])
    # Other batch sizes may add up in another order.
    np.testing.assert_allclose(
      y[::-1].reshape(expected.shape), expected, atol=1e-5, err_msg=key
    )


def test_each_group_of_deter_reaches_its_own_channels():
  decoder = make(IMAGES, norm='none', act='none')
  before = latents(1)
  after = {'deter': before['deter'].copy(), 'stoch': before['stoch']}
  # Four groups of two; the second one changes.
  after['deter'][0, 2:4] += 3
  minimal = jax.jit(decoder.images.minimal)
  changed = minimal(before) != minimal(after)
  assert changed.shape == (1, 4, 6, 8)
  np.testing.assert_array_equal(
    changed, np.broadcast_to(np.arange(8) // 2 == 1, changed.shape)
  )


def test_grouped_map_by_hand():
  minimal = make(IMAGES, norm='none', act='none').images.minimal
  x = latents(1)
  kernel = np.asarray(minimal.deter.kernel[...])
  bias = np.asarray(minimal.deter.bias[...]).reshape(4, 4, 6, 2)
  expected = np.zeros((1, 4, 6, 8), np.float32)
  for group in range(4):
    y = x['deter'][0, 2 * group : 2 * group + 2] @ kernel[group]
    expected[0, :, :, 2 * group : 2 * group + 2] = (
      y.reshape(4, 6, 2) + bias[group]
    )
  hidden = minimal.hidden(flat_stoch(x))
  expected += np.asarray(minimal.stoch(hidden)).reshape(expected.shape)
  np.testing.assert_allclose(minimal(x), expected, atol=1e-5)


def test_bfloat16_is_near_float32():
  found = predict(make(compute='bfloat16'))(latents(2))
  exact = predict(make())(latents(2))
  # 8 bits of mantissa, on logits up to 3 whose sigmoid is a quarter as steep.
  np.testing.assert_allclose(found['front'], exact['front'], atol=0.02)
  assert found['speed'].dtype == jnp.float32
  np.testing.assert_allclose(found['speed'], exact['speed'], atol=0.05)


def test_latents_train_through_every_output():
  decoder = make()

  def total(x):
    recons = decoder(x)
    targets = {k: np.zeros((1, *s.shape), int) for k, s in SPACE.items()}
    return {k: o.loss(targets[k]).sum() for k, o in recons.items()}

  slopes = jax.jit(jax.jacrev(total))(latents(1))
  for key, slope in slopes.items():
    for name, x in slope.items():
      assert np.abs(x).max() > 0, (key, name)


def test_groups_that_do_not_divide_the_channels_are_refused():
  choice = Choice(DECODER, 'simple', depth=3, mults=(2,)).at('config.decoder')
  message = (
    'config.decoder.simple.bspace = 8: must divide depth * mults[-1] = 6.'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    choice(
      obs_space=IMAGES,
      latent_space=LATENT,
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )


def test_groups_that_do_not_divide_deter_are_refused():
  message = "bspace = 3: must divide the dynamics' deter = 8."
  with pytest.raises(UserError, match=re.escape(message)):
    make({'image': image(16, 24)}, depth=3, bspace=3)


def test_an_image_that_does_not_fit_is_refused():
  message = 'mults: 2 halvings of an image of 20x10 pixels must leave a whole 3'
  with pytest.raises(ValueError, match=message):
    make({'image': image(20, 10)}, mults=(1, 2))
