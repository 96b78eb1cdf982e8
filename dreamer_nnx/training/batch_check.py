"""The steps that a replay keeps, and a check of the batches it returns."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dreamer_nnx import contracts, spaces
from dreamer_nnx.agent.context import ACTING, LATENT
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space
from dreamer_nnx.training import processes
from dreamer_nnx.training.options import TrainOptions
from dreamer_nnx.training.step import Learner

FLAGS = {
  'reward': np.float32,
  'is_first': bool,
  'is_last': bool,
  'is_terminal': bool,
}
Spaces = Mapping[str, Space]
StepSpaces = Mapping[str, jax.ShapeDtypeStruct]


def step_spaces(
  obs_space: Spaces, action_space: Spaces, learner: Learner
) -> dict[str, jax.ShapeDtypeStruct]:
  """Shape and format of everything that replay keeps of a step."""
  observed, layout = spaces.stored(obs_space), learner.layout
  struct = jax.ShapeDtypeStruct
  return (
    {
      key: _described(space)
      for key, space in (observed | dict(action_space)).items()
    }
    | {key: struct((), dtype) for key, dtype in FLAGS.items()}
    | {LATENT + key: x for key, x in layout.entry_space.items()}
    | {ACTING + key: x for key, x in layout.extra_space.items()}
  )


class Indices(jax.ShapeDtypeStruct):
  """Shape and format of class indices, and the numbers of their classes."""

  classes: tuple[int, ...]


def _described(space: Space) -> jax.ShapeDtypeStruct:
  shape, dtype = space.shape, spaces.data_type(space)
  if not spaces.is_discrete(space):
    return jax.ShapeDtypeStruct(shape, dtype)
  indices = Indices(shape, dtype)
  indices.classes = spaces.classes(space)
  return indices


def abstract_batch(kept: StepSpaces, rows: int, length: int) -> StepSpaces:
  """Shape and format of every key of a batch.

  Args:
    kept: Result of `step_spaces`.
    length: Steps of a window, those of the context included.
  """
  struct = jax.ShapeDtypeStruct
  return {
    key: struct((rows, length, *x.shape), x.dtype) for key, x in kept.items()
  } | {CONSEC: struct((rows,), np.int32)}


def check_batch(
  sampled: Any,
  replay: contracts.Replay,
  kept: StepSpaces,
  options: TrainOptions,
) -> None:
  """Refuses a batch that is not what `contracts.Replay` promises.

  Args:
    sampled: Result of `sample` in this process.
    kept: Result of `step_spaces`.

  Raises:
    UserError: With the first key that is missing, unknown, or not of the
      promised shape or format.
  """
  if not isinstance(sampled, tuple) or len(sampled) != 2:
    got = type(sampled).__name__
    _refuse(replay, f'must return a batch and a handle, and returned a {got}.')
  batch, _ = sampled
  rows = options.batch_size // processes.count()
  length = options.batch_length
  _check_keys(batch, replay, kept)
  _check_length(batch, replay, kept, (rows, length))
  whole = abstract_batch(kept, rows, replay.context + length)
  promised = {
    key: (x.shape, np.dtype(x.dtype))
    for key, x in whole.items()
    if key in batch
  }
  for key, (shape, dtype) in promised.items():
    value = batch[key]
    if value.shape != shape or value.dtype != dtype:
      _refuse(
        replay,
        f'{key!r} is {value.dtype} {value.shape} in a batch, and must be '
        f'{dtype} {shape}{_axes(key)}.',
      )
  _check_begins(batch, replay)


def _check_keys(batch: Any, replay: contracts.Replay, kept: StepSpaces) -> None:
  """Checks that every key is there and an array."""
  if not isinstance(batch, Mapping):
    got = type(batch).__name__
    _refuse(replay, f'a batch must be a dict of arrays, and is a {got}.')
  known = ', '.join(sorted(map(repr, batch)))
  for key in kept.keys() - batch.keys():
    _refuse(
      replay,
      f'{key!r} is missing in a batch, which must have every key of `spaces`. '
      f'It has {known}.',
    )
  for key, value in batch.items():
    if key not in kept and key != CONSEC:
      _refuse(
        replay,
        f'{key!r} in a batch is no key of `spaces`, nor {CONSEC!r}, so nothing '
        'would read it.',
      )
    if not isinstance(value, np.ndarray | jax.Array):
      got = type(value).__name__
      _refuse(replay, f'{key!r} in a batch must be an array, and is a {got}.')


def _check_length(
  batch: Mapping[str, np.ndarray],
  replay: contracts.Replay,
  kept: StepSpaces,
  size: tuple[int, int],
) -> None:
  """Checks the number of steps, if nothing else is wrong with the shapes."""
  (rows, length), context = size, replay.context
  if not isinstance(context, int | np.integer) or context < 0:
    _refuse(replay, f'`context` must be an int of at least 0, not {context!r}.')
  lengths = {
    batch[key].shape[1]
    for key, space in kept.items()
    if batch[key].ndim == 2 + len(space.shape)
    and batch[key].shape == (rows, batch[key].shape[1], *space.shape)
  }
  wrong = sorted(lengths - {context + length})
  if wrong:
    plural = 's' * (context != 1)
    _refuse(
      replay,
      f'windows have {wrong[0]} steps; config.train.batch_length {length} plus '
      f'the context of {context} step{plural} needs {context + length}.',
    )


def _check_begins(
  batch: Mapping[str, np.ndarray], replay: contracts.Replay
) -> None:
  """Checks that without context, windows begin where the carry is not used."""
  if replay.context:
    return
  first = np.asarray(batch['is_first'])[:, 0]
  alone = np.asarray(batch[CONSEC]) == 0 if CONSEC in batch else True
  if (alone & ~first).any():
    _refuse(
      replay,
      "without a context, 'is_first' must hold at the first step of each "
      f'window that goes on from none ({CONSEC!r} is 0 or absent), for its '
      'latent would be that of an unrelated one. Set `context` to 1 and give '
      'windows of one step more, or mark them.',
    )


def _axes(key: str) -> str:
  if key == CONSEC:
    return ' (batch)'
  return ' (batch, context + config.train.batch_length, ...)'


def _refuse(replay: contracts.Replay, what: str) -> None:
  name = type(replay).__name__
  raise UserError(f'{name}.sample: {what}', 'config.replay.name')
