"""The decoder: one output for each key, of its shape."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.decoders.maps import DenseMap, GroupedMap
from dreamer_nnx.decoders.simple import SimpleDecoder
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
FEAT_SPACE = {'deter': 8, 'stoch': 6}
SMALL = dict(depth=4, mults=(1, 2), layers=1, units=4, bspace=4)


def make(
  space=SPACE, compute='float32', device='auto', feat_space=FEAT_SPACE, **kw
):
  precision = Precision(compute, device=device)
  return filled(
    lambda rngs: SimpleDecoder(
      space,
      feat_space,
      **SMALL | {'mults': (2,)} | kw,
      precision=precision,
      rngs=rngs,
    )
  )


def feat_of(*batch):
  rng = np.random.default_rng(0)
  stoch = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (*batch, 2))]
  return {
    'deter': rng.normal(size=(*batch, 8)).astype(np.float32),
    'stoch': stoch.reshape(*batch, 6),
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
      space,
      FEAT_SPACE,
      **SMALL | options,
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )
    recons = decoder(feat_of(2, 3))
    targets = {k: jnp.zeros((2, 3, *s.shape), int) for k, s in space.items()}
    losses = {k: o.loss(targets[k]) for k, o in recons.items()}
    return {k: o.pred() for k, o in recons.items()}, losses

  preds, losses = jax.eval_shape(pred)
  assert preds.keys() == space.keys()
  for key, found in preds.items():
    assert found.shape == (2, 3, *space[key].shape), key
    assert losses[key].shape == (2, 3), key


def test_image_means_are_colours_of_their_key():
  found = predict(make())(feat_of(5))
  for key, space in IMAGES.items():
    assert found[key].dtype == jnp.float32
    assert found[key].shape == (5, *space.shape)
    assert found[key].min() > 0 and found[key].max() < 1


def test_image_channels_are_split_in_the_order_of_the_alphabet():
  decoder = make(IMAGES)
  # The last layer's bias alone decides: sigmoid(0), then three times 40.
  decoder.images.out.bias[...] = np.float32([0, 40, 40, 40])
  decoder.images.out.kernel[...] = decoder.images.out.kernel[...] * 0
  found = predict(decoder)(feat_of(1))
  np.testing.assert_array_equal(found['back'], np.full((1, 8, 12, 1), 0.5))
  np.testing.assert_array_equal(found['front'], np.ones((1, 8, 12, 3)))


def test_image_loss_is_the_sum_of_squares():
  decoder = make(IMAGES)
  target = np.random.default_rng(1).random((2, 8, 12, 3)).astype(np.float32)
  loss = jax.jit(lambda x: decoder(x)['front'].loss(target))(feat_of(2))
  mean = np.asarray(predict(decoder)(feat_of(2))['front'])
  expected = np.square(mean - target).sum((1, 2, 3))
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_one_image_drawn_a_few_at_a_time_is_the_same(monkeypatch):
  monkeypatch.setattr('dreamer_nnx.nn.forms.NUMBERS', 1)
  target = np.random.default_rng(1).random((2, 3, 8, 12, 3)).astype(np.float32)

  def results(decoder):
    def loss(x):
      output = decoder(x)['front']
      return output.loss(target).sum(), (output.loss(target), output.pred())

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(feat_of(2, 3))

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
  output = decoder(feat_of(1))['speed']
  wanted = np.sign(target) * np.log1p(np.abs(target)) if symlog else target
  expected = np.square(np.asarray(output.pred()) - wanted).sum((1, 2))
  np.testing.assert_allclose(output.loss(target), expected, rtol=1e-5)


def test_leading_axes_and_order_of_rows_do_not_matter():
  decode, x = predict(make()), feat_of(2, 3)
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
  before = feat_of(1)
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
  x = feat_of(1)
  kernel = np.asarray(minimal.deter.kernel[...])
  bias = np.asarray(minimal.deter.bias[...]).reshape(4, 4, 6, 2)
  expected = np.zeros((1, 4, 6, 8), np.float32)
  for group in range(4):
    y = x['deter'][0, 2 * group : 2 * group + 2] @ kernel[group]
    expected[0, :, :, 2 * group : 2 * group + 2] = (
      y.reshape(4, 6, 2) + bias[group]
    )
  hidden = minimal.hidden(x['stoch'])
  expected += np.asarray(minimal.stoch(hidden)).reshape(expected.shape)
  np.testing.assert_allclose(minimal(x), expected, atol=1e-5)


def test_bfloat16_is_near_float32():
  found = predict(make(compute='bfloat16'))(feat_of(2))
  exact = predict(make())(feat_of(2))
  # 8 bits of mantissa, on logits up to 3 whose sigmoid is a quarter as steep.
  np.testing.assert_allclose(found['front'], exact['front'], atol=0.02)
  assert found['speed'].dtype == jnp.float32
  np.testing.assert_allclose(found['speed'], exact['speed'], atol=0.05)


def test_features_train_through_every_output():
  decoder = make()

  def total(x):
    recons = decoder(x)
    targets = {k: np.zeros((1, *s.shape), int) for k, s in SPACE.items()}
    return {k: o.loss(targets[k]).sum() for k, o in recons.items()}

  slopes = jax.jit(jax.jacrev(total))(feat_of(1))
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
      feat_space=FEAT_SPACE,
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )


@pytest.mark.parametrize(
  ('feat_space', 'grouped'),
  [
    ({'deter': 8, 'stoch': 6}, True),
    # Four groups do not divide it.
    ({'deter': 6, 'stoch': 6}, False),
    # Beside it there is nothing.
    ({'deter': 8}, False),
    ({'stoch': 6}, False),
    ({'hidden': 8, 'z': 6}, False),
    ({'z': 2, 'deter': 4, 'y': 1}, True),
  ],
  ids=str,
)
def test_other_features_have_a_dense_map_and_a_note(feat_space, grouped):
  decoder = make(IMAGES, feat_space=feat_space)
  minimal = decoder.images.minimal
  assert isinstance(minimal, GroupedMap if grouped else DenseMap)
  note = (
    'The minimal map of the images is dense: there is no feature `deter` '
    'beside another one that splits into bspace = 4 groups.'
  )
  assert decoder.notes == (() if grouped else (note,))
  rng = np.random.default_rng(0)
  feat = {
    name: rng.normal(size=(5, size)).astype(np.float32)
    for name, size in feat_space.items()
  }
  decode = predict(decoder)
  found = decode(feat)['front']
  assert found.shape == (5, *IMAGES['front'].shape)
  # Every feature matters, and none depends on the order of the dict.
  turned = dict(reversed(feat.items()))
  np.testing.assert_array_equal(decode(turned)['front'], found)
  for name, x in feat.items():
    assert (decode(feat | {name: x + 1})['front'] != found).any(), name


def test_a_dense_map_that_is_asked_for_needs_no_note():
  assert make(IMAGES, bspace=0).notes == ()
  assert make(VECTORS, feat_space={'z': 3}).notes == ()


def test_dense_map_by_hand():
  minimal = make(IMAGES, norm='none', act='none', bspace=0).images.minimal
  x = feat_of(2)
  # Kernels read `deter` last, as older ones and the reference's do.
  whole = np.concatenate([x['stoch'], x['deter']], -1)
  linear = minimal.linear
  kernel, bias = (np.asarray(p[...]) for p in (linear.kernel, linear.bias))
  expected = (whole @ kernel + bias).reshape(2, 4, 6, 8)
  np.testing.assert_allclose(minimal(x), expected, atol=1e-5)


def test_an_image_that_does_not_fit_is_refused():
  message = (
    'mults: 2 halvings must leave a whole 3 to 16 pixels a side of each image: '
    "'image' has 20x10 (20x12 would do). Scale"
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    make({'image': image(20, 10)}, mults=(1, 2))
