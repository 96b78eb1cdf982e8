"""Settings that suit an environment, and the configs that ask for them."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import dreamer_nnx
from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from dreamer_nnx.envs import single
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn import images

MADE = 'tests.test_fitting:Shown'


class Shown(gymnasium.Env):
  """Shows images of given sizes, and a vector."""

  action_space = spaces.Box(-2, 2, (3,), np.float32)

  def __init__(self, sides=(), numbers=0):
    box = lambda shape: spaces.Box(0, 255, (*shape, 3), np.uint8)
    images = {f'view_{i}': box(shape) for i, shape in enumerate(sides)}
    vector = {'v': spaces.Box(-1, 1, (numbers,), np.float32)} if numbers else {}
    self.observation_space = spaces.Dict({**images, **vector})


def fitted(sides=(), numbers=0, **changes):
  said = []
  changes = {
    'env.name': 'custom',
    'env.custom.make': MADE,
    'env.custom.arguments': (f'sides={sides}', f'numbers={numbers}'),
    **changes,
  }
  config = dreamer_nnx.load_config('gymnasium', changes)
  flags = [f'--config.{k}={v}' for k, v in changes.items()]
  flags[2] = f'--config.env.custom.arguments=sides={sides},numbers={numbers}'
  by_flags = overrides.load_file(
    'gymnasium',
    None,
    lambda made: overrides.override(made, flags),
    said.append,
  )
  assert config == by_flags
  return config, *said


def test_classes_have_a_larger_entropy_scale_than_numbers():
  load = lambda **more: dreamer_nnx.load_config('gymnasium', more)
  numbers = {'env.gymnasium.id': 'Pendulum-v1'}
  assert load(**{'env.gymnasium.id': 'CartPole-v1'}).agent.actent == 1e-2
  assert load(**numbers).agent.actent == 3e-4
  assert load(**numbers | {'agent.actent': 0.1}).agent.actent == 0.1


def test_the_rate_of_a_vector_falls_over_the_updates_of_the_run():
  rate = lambda **more: fitted(numbers=4, **more)[0].optimizer.dreamer
  assert rate().schedule == 'linear'
  assert rate().anneal == 68_000 * 64 / 256
  more = {'train.steps': 1_000, 'train.train_ratio': 128.0}
  assert rate(**more).anneal == 500
  # What a config has that nothing is fitted to.
  assert rate(**{'train.steps': 1_000_000}).anneal == 250_000
  assert rate(**{'optimizer.dreamer.anneal': 700}).anneal == 700
  images, _ = fitted(((64, 64),))
  assert images.optimizer.dreamer.schedule == 'const'
  assert images.train.steps == 100_000


@pytest.mark.parametrize(
  ('more', 'schedule', 'anneal'),
  [
    ({'train.steps': 400}, 'const', 0),
    ({'train.steps': 404}, 'linear', 101),
    ({'train.train_ratio': 0.0}, 'const', 0),
    ({'optimizer.dreamer.warmup': 17_000}, 'const', 0),
    ({'train.steps': 400, 'optimizer.dreamer.warmup': 99}, 'linear', 100),
    ({'train.steps': 10**11}, 'linear', 2**31 - 1),
  ],
)
def test_runs_of_any_length_have_a_rate(more, schedule, anneal):
  config, _ = fitted(numbers=4, **more)
  rate = config.optimizer.dreamer
  assert (rate.schedule, rate.anneal) == (schedule, anneal)
  assert configs.bind_all(config)['optimizer']()


def test_images_of_a_size_are_halved_as_it_does_or_scaled():
  load = lambda side: dreamer_nnx.load_config(
    'gymnasium:1m',
    {
      'env.name': 'custom',
      'env.custom.make': MADE,
      'env.custom.arguments': (f'sides=(({side}, {side}),)', 'numbers=0'),
    },
  )
  for side, scaled in ((56, (64, 64)), (16, (64, 64)), (80, ())):
    config = load(side)
    assert config.env.custom.image_size == scaled
    envs = workflow.make_envs(config)
    images.check_halvings(envs.obs_space, len(config.encoder.simple.mults))
    envs.close()


def test_a_vector_gets_a_small_agent():
  config, said = fitted(numbers=4)
  assert config.dynamics.rssm.deter == 256
  assert config.dynamics.rssm.stochastic.categorical.classes == 8
  assert said.startswith('Fitted to 4 numbers, action: 3 numbers. Flags come')
  more, _ = fitted(numbers=40)
  assert more.dynamics.rssm.stochastic.categorical.classes == 16


def test_images_that_cannot_be_scaled_are_halved_if_they_all_admit_it():
  config = dreamer_nnx.load_config('gymnasium', {'env.name': PAIR})
  assert len(config.encoder.simple.mults) == 3
  envs = workflow.make_envs(config)
  images.check_halvings(envs.obs_space, 3)
  envs.close()


def pair(*, num_envs, seed):
  """Shows a large image and a small one, in their sizes alone."""
  create = lambda index: Shown(((128, 128), (32, 32)))
  made = single.Options()
  return single.vectorize(create, made, num_envs=num_envs, seed=seed, where='')


PAIR = 'tests.test_fitting:pair'


@pytest.mark.parametrize(
  ('sides', 'scaled', 'halvings'),
  [
    (((64, 64),), (), 4),
    (((80, 96),), (), 4),
    (((16, 16),), (), 2),
    (((64, 64), (16, 16)), (), 2),
    (((210, 160),), (64, 64), 4),
    (((84, 84),), (64, 64), 4),
    (((30, 31),), (64, 64), 4),
    (((128, 128), (16, 16)), (64, 64), 4),
    # Each of them admits some number of halvings, but none both.
    (((96, 96), (12, 12)), (64, 64), 4),
    # The first admits 4, too.
    (((48, 48), (24, 40)), (), 3),
  ],
)
def test_images_are_halved_or_scaled(sides, scaled, halvings):
  config, said = fitted(sides)
  assert config.env.custom.image_size == scaled
  assert len(config.encoder.simple.mults) == halvings
  assert config.decoder.simple.mults == config.encoder.simple.mults
  assert f'view_0 {sides[0][0]}x{sides[0][1]}x3' in said
  envs = workflow.make_envs(config)
  try:
    workflow.make_learner(config, envs.obs_space, envs.action_space)
  finally:
    envs.close()


SIDE, LARGE = 84, 128


def sized(*, num_envs, seed, image_size: tuple[int, ...] = ()):
  make = single.Maker(Shown, {'sides': ((SIDE, LARGE),)}, seed)
  options = single.Options(image_size=image_size)
  return single.vectorize(make, options, num_envs=num_envs, seed=seed, where='')


def test_images_of_an_environment_that_is_named_by_its_module_are_scaled():
  config = dreamer_nnx.load_config(
    'gymnasium', {'env.name': 'tests.test_fitting:sized'}
  )
  assert config.env.sized.image_size == (64, 64)


def test_what_is_asked_for_is_kept():
  config, _ = fitted(
    numbers=4, **{'train.train_ratio': 8.0, 'dynamics.rssm.deter': 64}
  )
  assert config.train.train_ratio == 8
  assert config.dynamics.rssm.deter == 64
  assert config.dynamics.rssm.hidden == 128


def test_a_size_is_kept():
  config = dreamer_nnx.load_config('gymnasium:12m')
  assert config.dynamics.rssm.deter == 2048
  assert config.train.train_ratio == 64


@pytest.mark.parametrize(
  ('id', 'limit'), [('CartPole-v1', 0), ('Blackjack-v1', 1_000)]
)
def test_episodes_end(id, limit):
  config = dreamer_nnx.load_config('gymnasium', {'env.gymnasium.id': id})
  assert config.env.gymnasium.time_limit == limit


def test_an_environment_that_is_not_there_is_one_message():
  with pytest.raises(UserError, match=r'no environment has this id\. Did you'):
    dreamer_nnx.load_config('gymnasium', ['env.gymnasium.id=CartPol-v1'])


def test_a_fault_of_adapt_is_placed(tmp_path):
  file = tmp_path / 'faulty.py'
  make = 'from dreamer_nnx.config import base as get_config\n'
  file.write_text(f'{make}def adapt(config): return 1 / 0', 'utf-8')
  with pytest.raises(ZeroDivisionError) as error:
    overrides.load_file(str(file))
  assert f"while loading --config = '{file}'" in error.value.__notes__
  adapt = "def adapt(config): return '', {'train.stepz': 1}"
  file.write_text(make + adapt, 'utf-8')
  with pytest.raises(UserError, match=r"adapt\(\) of .*'train.stepz'"):
    overrides.load_file(str(file))
