"""The residual decoder: one output for each key, its stages by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.decoders.maps import DenseMap, GroupedMap
from dreamer_nnx.decoders.resnet import ResNetDecoder
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import DECODER
from tests.filling import filled


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


VECTORS = {
  'speed': gs.Box(-np.inf, np.inf, (2, 2), np.float32),
  'goal': gs.Discrete(3),
}
IMAGES = {'front': image(8, 12), 'back': image(8, 12, 1)}
FEAT_SPACE = {'deter': 8, 'stoch': 6}
SMALL = dict(depth=4, mults=(1,), blocks=1, layers=1, units=4, bspace=4)


def make(
  space=IMAGES, compute='float32', feat_space=FEAT_SPACE, device='auto', **kw
):
  precision = Precision(compute, device=device)
  options = SMALL | kw
  return filled(
    lambda rngs: ResNetDecoder(
      space, feat_space, **options, precision=precision, rngs=rngs
    )
  )


def feat_of(*batch, feat_space=FEAT_SPACE):
  rng = np.random.default_rng(0)
  draw = lambda size: rng.normal(size=(*batch, size)).astype(np.float32)
  return {name: draw(size) for name, size in feat_space.items()}


def predict(decoder):
  return jax.jit(lambda x: {k: o.pred() for k, o in decoder(x).items()})


@pytest.mark.parametrize(
  ('sides', 'options', 'kinds'),
  [
    ((16, 24), {'mults': (1, 2)}, VECTORS | IMAGES),
    ((64, 48), {'mults': (1, 2, 2, 3), 'blocks': 2}, IMAGES),
    ((16, 24), {'kernel': 5, 'norm': 'layer', 'bspace': 0}, IMAGES),
    ((16, 24), {'symlog': False}, VECTORS),
  ],
  ids=str,
)
def test_every_key_is_predicted_in_its_shape(sides, options, kinds):
  sized = {k: image(*sides, s.shape[2]) for k, s in IMAGES.items()}
  space = {k: sized.get(k, s) for k, s in kinds.items()}

  def pred():
    kw = SMALL | options | dict(precision=Precision(), rngs=nnx.Rngs(0))
    recons = ResNetDecoder(space, FEAT_SPACE, **kw)(feat_of(2, 3))
    targets = {k: jnp.zeros((2, 3, *s.shape), int) for k, s in space.items()}
    losses = {k: o.loss(targets[k]) for k, o in recons.items()}
    return {k: o.pred() for k, o in recons.items()}, losses

  preds, losses = jax.eval_shape(pred)
  assert preds.keys() == space.keys()
  for key, found in preds.items():
    assert found.shape == (2, 3, *space[key].shape), key
    assert losses[key].shape == (2, 3), key


def test_one_pixel_kernels_by_hand():
  space = {'front': image(16, 12), 'back': image(16, 12, 1)}
  options = dict(kernel=1, norm='none', act='relu', blocks=2)
  decoder = make(space, mults=(1, 2), **options)
  part, feat = decoder.images, feat_of(2)

  def conv(layer, x):
    return x @ np.asarray(layer.kernel[...])[0, 0] + np.asarray(layer.bias[...])

  x = np.asarray(part.minimal(feat))
  assert x.shape == (2, 4, 3, 8)
  for i in range(2):
    for block in part.blocks[i]:
      y = conv(block.convs[0], np.maximum(x, 0))
      x = x + conv(block.convs[1], np.maximum(y, 0))
    x = np.maximum(x, 0) if i == 1 else x
    # Every pixel is repeated 2x2 times.
    x = conv(part.convs[i], x).repeat(2, 1).repeat(2, 2)
  back, front = np.split(1 / (1 + np.exp(-x)), [1], -1)
  found = predict(decoder)(feat)
  np.testing.assert_allclose(found['back'], back, atol=1e-5)
  np.testing.assert_allclose(found['front'], front, atol=1e-5)


def test_one_image_drawn_a_few_at_a_time_is_the_same(monkeypatch):
  monkeypatch.setattr('dreamer_nnx.nn.forms.NUMBERS', 1)
  space = {'front': IMAGES['front']}
  target = np.random.default_rng(1).random((2, 2, 8, 12, 3)).astype(np.float32)

  def losses(decoder):
    loss = lambda x: decoder(x)['front'].loss(target)
    return jax.jit(jax.value_and_grad(lambda x: loss(x).sum()))(feat_of(2, 2))

  found, expected = (
    losses(make(space, device=name)) for name in ('cpu', 'accelerator')
  )
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ('feat_space', 'grouped'),
  [(FEAT_SPACE, True), ({'hidden': 5, 'z': 3}, False), ({'mean': 7}, False)],
  ids=str,
)
def test_any_features_reach_the_image(feat_space, grouped):
  decoder = make(feat_space=feat_space)
  minimal = decoder.images.minimal
  assert isinstance(minimal, GroupedMap if grouped else DenseMap)
  assert bool(decoder.notes) != grouped
  decode, feat = predict(decoder), feat_of(3, feat_space=feat_space)
  found = decode(feat)['front']
  for name, x in feat.items():
    assert (decode(feat | {name: x + 1})['front'] != found).any(), name


def test_bfloat16_is_near_float32():
  found = predict(make(compute='bfloat16'))(feat_of(2))['front']
  assert found.dtype == jnp.float32
  exact = predict(make())(feat_of(2))['front']
  # 8 bits of mantissa, on logits up to 5 whose sigmoid is a quarter as steep.
  np.testing.assert_allclose(found, exact, atol=0.03)


def test_an_image_that_does_not_fit_is_refused_by_its_config_path():
  choice = Choice(DECODER, 'resnet', mults=(2, 3)).at('config.decoder')
  message = (
    'config.decoder.resnet.mults: 2 halvings must leave a whole 3 to 16 pixels '
    "a side of each image: 'image' has 20x10 (20x12 would do). Scale"
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    choice(
      obs_space={'image': image(20, 10)},
      feat_space=FEAT_SPACE,
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )
