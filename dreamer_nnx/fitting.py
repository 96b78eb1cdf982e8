"""Settings of a small agent that suit an environment, read off its spaces."""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import spaces
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.nn import images
from dreamer_nnx.nodes import leaves
from dreamer_nnx.optimizers import schedules
from dreamer_nnx.registry import branch
from dreamer_nnx.spacetypes import Space

# How long a config trains until flags say more; half an hour on one core.
RUN = {
  'train.steps': 68_000,
  'train.train_ratio': 64.0,
  'train.batch_size': 16,
  'train.batch_length': 16,
  'optimizer.dreamer.warmup': 100,
}
# What all of them have.
COMMON = {
  'agent.imag_last': 4,
  'train.envs': 4,
  'train.log_every': 2_000,
  'train.report_every': 0,
  'train.save_every': 10_000,
  'evaluate.episodes': 20,
  'evaluate.envs': 20,
  'evaluate.sampled': False,
}
VECTOR = {
  'agent.actent': 1e-2,
  'optimizer.dreamer.lr': 1e-3,
  'replay.chunked.capacity': 1_000_000,
}
IMAGE = {
  'agent.actent': 3e-3,
  'optimizer.dreamer.lr': 3e-4,
  'replay.chunked.capacity': 200_000,
  'train.steps': 100_000,
}
SMALL = {
  '**.units': 128,
  'dynamics.rssm.deter': 256,
  'dynamics.rssm.hidden': 128,
}
FEW = {
  'dynamics.rssm.stochastic.categorical.stoch': 8,
  'dynamics.rssm.stochastic.categorical.classes': 8,
}
MANY = {
  'dynamics.rssm.stochastic.categorical.stoch': 16,
  'dynamics.rssm.stochastic.categorical.classes': 16,
}
DEPTH = {'encoder.simple.depth': 8, 'decoder.simple.depth': 8}
# Numbers of an observation up to which few classes are enough.
FEW_NUMBERS = 8
# Sides in pixels to scale images to that no number of halvings suits, or that
# are larger than is needed.
SIDE, LARGEST = 64, 96
MULTS = (2, 3, 4, 4)
# Steps of an episode where the environment has no limit of its own.
LIMIT = 1_000


def fit(config: ConfigDict, size: str = '') -> tuple[str, dict[str, Any]]:
  """Chooses settings for the environment that a config names.

  The environment is made once, to see its spaces.

  Args:
    config: It has `RUN`, or what flags say instead.
    size: A size that the agent already has; '' to choose it, too.

  Returns:
    What was seen and chosen, in words, and values by path or pattern.

  Raises:
    UserError, EnvError: The environment cannot be made.
  """
  envs = make_vector_env(configs.bind_all(config)['env'], 1, 0)
  obs, actions = dict(envs.obs_space), dict(envs.action_space)
  envs.close()
  pixels, numbers = _seen(obs)
  set_to = leaves(config)
  run = {path: set_to[path] for path in RUN}
  values = {**COMMON, **run, **(IMAGE if pixels else VECTOR)}
  if not _discrete(actions):
    values['agent.actent'] = 3e-4
  if not pixels:
    values |= _falling(run)
  # A size halves images as often as it does.
  fewest = len(MULTS) if size else 1
  values |= _of_environment(config, pixels, fewest)
  if not size:
    few = numbers <= FEW_NUMBERS and not pixels
    values |= SMALL | (FEW if few else MANY)
    values |= _of_images(pixels, values)
  seen = [f'{k} {"x".join(map(str, x.shape))}' for k, x in pixels.items()]
  seen += [_counted(numbers, 'number')] if numbers else []
  chosen = ', '.join(f'{k} = {v!r}' for k, v in values.items())
  text = (
    f'Fitted to {" and ".join(seen)}, {_words(actions)}. Flags come before '
    f'what is chosen: {chosen}.'
  )
  return text, values


def _falling(run: Mapping[str, Any]) -> dict[str, Any]:
  """Lets the rate fall to a tenth over a run, if it is longer than the warmup.

  Args:
    run: Values of `RUN`.
  """
  steps, ratio, size, length, warmup = run.values()
  updates = min(round(steps * ratio / (size * length)), schedules.MOST)
  if updates <= warmup:
    return {}
  return {
    'optimizer.dreamer.schedule': 'linear',
    'optimizer.dreamer.anneal': updates,
  }


def _seen(obs: Mapping[str, Space]) -> tuple[dict[str, Space], int]:
  """Returns the images, and how many numbers all else has."""
  shown = spaces.encoded(obs)
  pixels = {k: x for k, x in shown.items() if spaces.is_image(x)}
  return pixels, sum(_width(x) for k, x in shown.items() if k not in pixels)


def _width(space: Space) -> int:
  """Counts the numbers of a vector, or the classes of what is discrete."""
  if spaces.is_discrete(space):
    return sum(spaces.classes(space))
  return math.prod(space.shape)


def _discrete(actions: Mapping[str, Space]) -> bool:
  return all(map(spaces.is_discrete, actions.values()))


def _words(actions: Mapping[str, Space]) -> str:
  """Describes actions: 'action: 4 classes'."""
  kinds = {True: 'class', False: 'number'}
  kind = lambda x: _counted(_width(x), kinds[spaces.is_discrete(x)])
  return ', '.join(f'{k}: {kind(x)}' for k, x in actions.items())


def _counted(count: int, noun: str) -> str:
  plural = '' if count == 1 else 'es' if noun[-1] == 's' else 's'
  return f'{count} {noun}{plural}'


def _of_environment(
  config: ConfigDict, pixels: Mapping[str, Space], fewest: int
) -> dict[str, Any]:
  """Chooses what the environment itself is made with.

  Args:
    fewest: Halvings that images must admit, or be scaled.
  """
  name = branch(config.env.name)
  fields = config.env.get(name, {})
  values = {}
  large = any(max(x.shape[:2]) > LARGEST for x in pixels.values())
  fits = not large and _halvings(pixels) >= fewest
  if 'image_size' in fields and not fields.image_size and not fits:
    # One that is named by its module has fields once it is chosen.
    values['env.name'] = config.env.name
    values[f'env.{name}.image_size'] = (SIDE, SIDE)
  if name == 'gymnasium' and not fields.time_limit and _endless(fields.id):
    values[f'env.{name}.time_limit'] = LIMIT
  return values


def _of_images(
  pixels: Mapping[str, Space], values: Mapping[str, Any]
) -> dict[str, Any]:
  if not pixels:
    return {}
  scaled = any(path.endswith('image_size') for path in values)
  most = len(MULTS) if scaled else _halvings(pixels) or len(MULTS)
  return DEPTH | {'**.simple.mults': MULTS[:most]}


def _halvings(pixels: Mapping[str, Space]) -> int:
  """Returns the most halvings, up to four, that all admit; 0 for none."""
  sides = list(images.by_sides(pixels))
  admitted = lambda n: all(images.fits(x, n) for x in sides)
  return next(filter(admitted, range(len(MULTS), 0, -1)), 0)


def _endless(id: str) -> bool:
  """Tells whether an environment is registered without a time limit."""
  name = id.rpartition(':')[2]
  entry = gymnasium.registry.get(name)
  return entry is not None and entry.max_episode_steps is None
