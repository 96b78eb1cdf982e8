"""What a driven model shows is what the model imagines."""

import numpy as np
import pytest

from dreamer_nnx.play.driver import Driver
from dreamer_nnx.play.moments import open_moments

STEPS = 20


@pytest.fixture(scope='module')
def moments(model):
  with open_moments(model.trained, trust_config=False) as opened:
    yield opened


@pytest.fixture(scope='module')
def driver(model):
  return Driver(model)


def imagined(model, moment, actions, draw):
  """What the model itself imagines from a moment, along (H,) classes."""
  obs = {'image': moment.obs['image'][0]}
  seen = model.observe(obs, {'action': moment.actions['action'][0]})
  return model.imagine(seen, {'action': np.asarray(actions)}, draw=draw)


def test_driven_steps_equal_what_the_model_imagines(model, moments, driver):
  moment = moments.replayed(0, 3)
  frames = [driver.begin(moment.obs, moment.actions, 7)]
  actions = np.random.default_rng(0).integers(0, 3, STEPS)
  for action in actions:
    frames.append(driver.step({'action': action[None].astype(np.int32)}))
  # The same start, for posteriors are drawn, too.
  end = driver_start(model, moment, 7)
  dream = model.imagine(end, {'action': actions}, draw=7)
  images = model.decode(dream.feat)['image']
  shown = np.stack([frame.decoded['image'] for frame in frames])
  assert shown.shape == images.shape == (STEPS + 1, 8, 8, 3)
  assert np.abs(shown.astype(int) - images).max() <= 1
  np.testing.assert_allclose(
    [frame.reward for frame in frames], dream.reward, atol=1e-4
  )
  np.testing.assert_allclose(
    [frame.value for frame in frames], dream.value, atol=1e-4
  )
  np.testing.assert_allclose(
    [frame.cont for frame in frames], dream.cont, atol=1e-4
  )
  # Not all of it is the same picture.
  assert np.ptp(shown.astype(int), axis=0).max() > 0


def driver_start(model, moment, draw):
  """Observes a moment by the draws of a dream."""
  calls = model._key
  model._key = lambda: model.key_of(draw)
  try:
    obs = {'image': moment.obs['image'][0]}
    return model.observe(obs, {'action': moment.actions['action'][0]})
  finally:
    model._key = calls


def test_the_same_number_draws_the_same(moments, driver):
  moment = moments.replayed(0, 3)

  def driven(number):
    driver.begin(moment.obs, moment.actions, number)
    frames = [driver.step(None, 'sample') for _ in range(STEPS)]
    return [int(frame.action['action'][0]) for frame in frames]

  assert driven(1) == driven(1)
  assert driven(1) != driven(2)


def test_looking_observes_what_is_there(model, moments, driver):
  moment = moments.replayed(1, 1)
  assert driver.can_look
  driver.begin(moment.obs, moment.actions, 1)
  action = moment.truth.recorded()
  before = driver.state
  driver.step(action)
  dreamt = driver.state['feat']
  step = moment.truth.follow(action)
  seen = {k: step[k] for k in ('image', 'is_first')}
  driver.look(seen, action, before)
  looked = driver.state
  np.testing.assert_allclose(
    looked['feat']['deter'], dreamt['deter'], atol=1e-6
  )
  # A picture that cannot be leads to other states than the one that is there.
  driver.look(seen | {'image': 255 - seen['image']}, action, before)
  other = driver.state['carry']
  assert any(
    not np.array_equal(a, b)
    for a, b in zip(other.values(), looked['carry'].values(), strict=True)
  )
