"""Data sets of Minari as steps; the package is imported only for these."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Bounds
from dreamer_nnx.replay.sources import Part, Source

SCHEME = 'minari:'


def find(name: str) -> Source:
  """Reads the episodes of a data set on this machine.

  Observations and actions get the names that they have in the environments of
  `config.env.gymnasium`, and continuous actions are scaled to [-1, 1] by their
  bounds. The action at the last observation is zeros.

  Raises:
    UserError: minari is not installed, or has no such data set.
  """
  try:
    minari = importlib.import_module('minari')
  except ImportError as error:
    raise UserError(
      'needs the package minari. Run `pip install minari`, and download the '
      f'data set by `minari download {name}`.',
      'path',
    ) from error
  try:
    data = minari.load_dataset(name)
  except Exception as error:  # Of many kinds, by place and version.
    raise UserError(
      f'minari cannot load it ({error}). `minari list local` shows what is '
      f'there; `minari download {name}` gets it.',
      'path',
    ) from error
  observed = spaces.normalize(data.observation_space, name, 'vector')
  acted = spaces.normalize(data.action_space, name, 'action')
  parts, lengths = [], []
  for episode in data.iterate_episodes():
    begin, where = sum(lengths), f'episode {episode.id} of {name}'
    try:
      arrays = steps(episode, observed, acted)
    except ValueError as error:
      raise UserError(f'{where}: {error}', 'path') from error
    lengths.append(len(arrays['reward']))
    rows = slice(begin, begin + lengths[-1])
    parts.append(Part(where, rows, lambda arrays=arrays: arrays))
  return Source([sum(lengths)], parts)


def steps(
  episode: Any, observed: spaces.Normalized, acted: spaces.Normalized
) -> dict[str, np.ndarray]:
  """An episode of T actions as T + 1 steps, (T + 1, ...) by key."""
  count = len(episode.rewards)
  flat = lambda space, values: [
    space.flatten(_at(values, i)) for i in range(_count(values))
  ]
  seen, done = (
    flat(observed, episode.observations),
    flat(acted, episode.actions),
  )
  result = {k: np.stack([x[k] for x in seen]) for k in observed.spaces}
  for key, space in acted.spaces.items():
    taken = np.stack([x[key] for x in done])
    if not spaces.is_discrete(space):
      taken = Bounds.of(space).presented(taken)
    result[key] = np.concatenate([taken, np.zeros_like(taken[:1])])
  result['reward'] = np.zeros(count + 1, np.float32)
  result['reward'][1:] = episode.rewards
  for key in ('is_first', 'is_last', 'is_terminal'):
    result[key] = np.zeros(count + 1, bool)
  result['is_first'][0] = result['is_last'][-1] = True
  result['is_terminal'][-1] = bool(episode.terminations[-1])
  return result


def _count(values: Any) -> int:
  while isinstance(values, Mapping | tuple):
    nested = values.values() if isinstance(values, Mapping) else values
    values = next(iter(nested))
  return len(values)


def _at(values: Any, i: int) -> Any:
  """Value i of what is nested like its space."""
  if isinstance(values, Mapping):
    return {key: _at(x, i) for key, x in values.items()}
  if isinstance(values, tuple):
    return tuple(_at(x, i) for x in values)
  return values[i]
