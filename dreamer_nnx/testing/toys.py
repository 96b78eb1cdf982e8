"""Small spaces, values of them, and components built for them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import spaces
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice, Slot

SIDES = (16, 16)
ROWS, LENGTH = 2, 6
FLOAT32, BFLOAT16 = Precision('float32'), Precision('bfloat16')
PRECISIONS = (FLOAT32, BFLOAT16)
TOKENS = 5
FEAT_SPACE = {'deter': 4, 'stoch': 6}

Component = str | Choice | Callable
Spaces = Mapping[str, gym_spaces.Space]


def settings(spaces_by_name: Mapping[str, Spaces]) -> list[tuple]:
  """Pairs of spaces and precisions: all in float32, the last in bfloat16."""
  every = list(spaces_by_name.values())
  return [(space, FLOAT32) for space in every] + [(every[-1], BFLOAT16)]


def box(*shape: int) -> gym_spaces.Box:
  return gym_spaces.Box(-np.inf, np.inf, shape, np.float32)


def image(sides: tuple[int, int] = SIDES) -> gym_spaces.Box:
  return gym_spaces.Box(0, 255, (*sides, 3), np.uint8)


VECTORS = {'kind': gym_spaces.Discrete(4), 'position': box(3)}
ACTIONS = {
  'discrete': {'button': gym_spaces.Discrete(3)},
  'continuous': {'force': box(2)},
  'both': {'button': gym_spaces.Discrete(3), 'force': box(2)},
}


def observations(sides: tuple[int, int] = SIDES) -> dict[str, Spaces]:
  """Observation spaces that components are tried on, by name."""
  images = {'image': image(sides)}
  return {'both': images | VECTORS, 'images': images, 'vectors': VECTORS}


def choice(slot: Slot, component: Component, fields: Mapping) -> Choice:
  """The choice of a slot that a name, a builder or a choice stands for."""
  if isinstance(component, Choice):
    return component.replace(**fields)
  if not isinstance(component, str):
    component = f'{component.__module__}:{component.__qualname__}'
  return Choice(slot, component, **fields)


def title(slot: Slot, component: Component) -> str:
  """Names a component in failures."""
  name = getattr(
    component, 'name', getattr(component, '__qualname__', component)
  )
  return f'{slot.name} {name}'


def build(choice: Choice, /, **given: Any) -> Any:
  """Builds a component from what its slot is given."""
  if 'rngs' in choice.given:
    given['rngs'] = nnx.Rngs(0)
  return choice(**given)


def values(space: Spaces, lead: tuple[int, ...], seed: int = 0) -> dict:
  """Draws values (*lead, ...) of spaces."""
  rng = np.random.default_rng(seed)
  return {key: value(s, lead, rng) for key, s in sorted(space.items())}


def value(space: gym_spaces.Space, lead, rng: np.random.Generator) -> jax.Array:
  shape = (*lead, *space.shape)
  if spaces.is_discrete(space):
    highs = np.reshape(spaces.classes(space), space.shape)
    x = rng.integers(0, np.broadcast_to(highs, shape))
  elif spaces.is_image(space):
    x = rng.integers(0, 256, shape)
  else:
    x = rng.uniform(-1, 1, shape)
  return jnp.asarray(x, spaces.data_type(space))


def floats(shape: tuple[int, ...], seed: int, dtype: Any = jnp.float32):
  """Draws numbers around 0."""
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), dtype)


def features(feat_space: Mapping[str, int], lead, seed: int, dtype) -> dict:
  return {
    name: floats((*lead, size), seed + i, dtype)
    for i, (name, size) in enumerate(feat_space.items())
  }


def functional(arrays: Any) -> jax.Array:
  """A sum of all numbers with weights, so that none is left out of it."""
  total = jnp.zeros(())
  for i, x in enumerate(jax.tree.leaves(arrays)):
    if jnp.issubdtype(x.dtype, jnp.floating):
      weights = jax.random.normal(jax.random.key(i), x.shape)
      total += (weights * x.astype(jnp.float32)).sum()
  return total


def takes(choice: Choice, name: str) -> bool:
  """Tells whether a component has a field of this name."""
  return name in choice.values()
