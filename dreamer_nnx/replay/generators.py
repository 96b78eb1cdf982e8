"""Random generators of numpy as JSON."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.streams import Stream


def derived(seed: int, saves: int) -> np.random.Generator:
  """Makes the generator of a replay that loads a save, but not its generator.

  Args:
    saves: Number of saves before.
  """
  seed = streams.seed(seed, Stream.SHARED_REPLAY, saves)
  return np.random.default_rng(seed)


def reseeded(index: dict[str, Any], seed: int) -> dict[str, Any]:
  """Returns a saved index with the generator of another seed.

  Those of replays in a replay, too. An index of another kind of replay, with
  neither chunks nor fixed data, stays as it is.
  """
  if not isinstance(index, Mapping):
    return index
  if not {'chunks', 'fixed'} & index.keys():
    return {
      name: reseeded(part, streams.seed(seed, Stream.SHARED_REPLAY, place))
      for place, (name, part) in enumerate(index.items())
    }
  if not index.get('rng'):
    return index
  return {**index, 'rng': to_json(derived(seed, index.get('saves', 0)))}


def to_json(rng: np.random.Generator) -> dict[str, Any]:
  """State of a generator, with 128-bit numbers as text."""
  state = dict(rng.bit_generator.state)
  state['state'] = {k: str(v) for k, v in state['state'].items()}
  return state


def from_json(saved: Mapping[str, Any]) -> dict[str, Any]:
  """State of a bit generator, from what `to_json` made."""
  numbers = {key: int(value) for key, value in saved['state'].items()}
  return {**saved, 'state': numbers}
