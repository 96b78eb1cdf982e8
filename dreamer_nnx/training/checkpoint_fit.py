"""Checks that a checkpoint fits a config, and can be saved and ranked."""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorstore

from dreamer_nnx import compat
from dreamer_nnx.errors import UserError
from dreamer_nnx.training.checkpoint_files import SHOWN, CheckpointError
from dreamer_nnx.training.sharding import put_global

Target = Mapping[str, jax.ShapeDtypeStruct]
Leaves = Mapping[str, tuple[tuple[int, ...], np.dtype]]
# Arrays that checkpoints of older versions lack, and what they begin with.
LATER = {'diverged': -1}


def renamed(target: Target, saved: Leaves) -> tuple[Leaves, dict[str, str]]:
  """Renames what a step holds to the names of today; also maps new to old."""
  stored = compat.stored_names(saved, target)
  return {new: saved[old] for new, old in stored.items()}, stored


def _built(target: Target) -> Leaves:
  """Shapes and dtypes as stored: of a typed PRNG key, its numbers."""
  built = {}
  for name, leaf in target.items():
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.eval_shape(jax.random.key_data, leaf)
    built[name] = (tuple(leaf.shape), np.dtype(leaf.dtype))
  return built


def check(step: str, saved: Leaves, target: Target) -> None:
  """Compares names, shapes and dtypes; raises CheckpointError."""
  built = _built(target)
  lines, hint = [], 'Was the precision changed?'
  for name in sorted(saved.keys() & built.keys()):
    (old_shape, old_dtype), (shape, dtype) = saved[name], built[name]
    if old_shape != shape:
      lines.append(f'{name} is {old_shape}, this config builds {shape}')
      hint = 'Was the size changed?'
    elif old_dtype != dtype:
      lines.append(f'{name} is {old_dtype}, this config builds {dtype}')
  if saved.keys() != built.keys():
    hint = 'Was a component or its size changed?'
  for name in saved.keys() - built.keys():
    lines.append(f'{name} is {saved[name][0]}, this config builds no such leaf')
  for name in built.keys() - saved.keys():
    lines.append(f'{name} is missing, this config builds {built[name][0]}')
  _reject(step, sorted(lines), hint)


def split_target(
  step: str, saved: Leaves, target: Target
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, jax.Array]]:
  """Splits a target into what a step holds and what later versions added.

  Raises:
    CheckpointError: as in `check`.
  """
  added = {
    name: put_global(np.full(x.shape, LATER[name], x.dtype), x.sharding)
    for name, x in target.items()
    if name in LATER and name not in saved
  }
  held = {name: x for name, x in target.items() if name not in added}
  check(step, saved, held)
  return held, added


def check_dtypes(
  step: str, state: Mapping[str, jax.Array], target: Target
) -> None:
  """Compares what was loaded; raises CheckpointError.

  Kinds of PRNG keys differ in no shape or dtype that `check` sees.
  """
  lines = [
    f'{name} is {state[name].dtype}, this config builds {leaf.dtype}'
    for name, leaf in target.items()
    if state[name].dtype != leaf.dtype
  ]
  _reject(step, lines, 'Was the kind of PRNG changed?')


def _reject(step: str, lines: list[str], hint: str) -> None:
  """Raises CheckpointError if there are any lines, one a leaf."""
  if not lines:
    return
  head = f'checkpoint step {step} does not fit:'
  if len(lines) == 1:
    raise CheckpointError(f'{head} {lines[0]}. {hint}')
  shown = lines[:SHOWN]
  if len(lines) > SHOWN:
    shown.append(f'and {len(lines) - SHOWN} more')
  body = ''.join(f'\n  {line}' for line in shown)
  raise CheckpointError(f'{head}{body}\n{hint}')


def check_savable(arrays: Mapping[str, Any]) -> None:
  """Refuses what Orbax cannot store; raises CheckpointError.

  Args:
    arrays: Named arrays, or their shapes and dtypes.
  """
  for name, value in arrays.items():
    if math.prod(value.shape) == 0:
      raise CheckpointError(
        f'{name} is {tuple(value.shape)}: an array without elements cannot be '
        'saved.'
      )
    if not storable(value.dtype):
      raise CheckpointError(
        f'{name} is of dtype {value.dtype}: checkpoints have no such format. '
        'Keep it in another one, such as int8 or float32.'
      )


def storable(dtype: Any) -> bool:
  """Tells whether TensorStore has a format; typed PRNG keys become numbers.

  It takes other names for text and raw bytes, and they come back as these.
  """
  if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
    return True
  try:
    return tensorstore.dtype(np.dtype(dtype)).name == np.dtype(dtype).name
  except ValueError:
    return False


def matching(target: Target, include: str, exclude: str) -> set[str]:
  """Names that `include` is found in and `exclude`, unless empty, is not."""

  def names(field: str, expression: str) -> set[str]:
    try:
      return compat.searched(target, expression)
    except re.error as error:
      raise UserError(
        f'not a valid regular expression: {error}.', f'--{field}', expression
      ) from error

  wanted = names('restore_include', include)
  return wanted - names('restore_exclude', exclude) if exclude else wanted


def upgraded(
  meta: Mapping[str, Any], loop: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Meta and loop of version 0.1, as those of a single process of today."""
  loop = {compat.loop_name(name): x for name, x in loop.items()}
  if 'counters' not in meta or 'processes' in meta:
    return dict(meta), dict(loop)
  counters = dict(meta['counters'])
  state = {name: counters.pop(name) for name in ('episodes', 'envs')}
  state['replay'] = meta['replay']
  loop = {
    name: x if name.startswith('train|') else np.asarray(x)[None]
    for name, x in loop.items()
  }
  return {**meta, 'counters': counters, 'processes': [state]}, loop


def score(
  best_metric: str | None, metrics: Mapping[str, float] | None
) -> dict[str, float] | None:
  """Returns the metric that ranks a step; None without a best metric.

  Raises:
    ValueError: There are metrics, and this one is not among them.
  """
  if best_metric is None:
    return None
  if metrics is None:
    return {}
  if best_metric not in metrics:
    raise UserError(
      'is not among the metrics of this step: '
      f'{", ".join(sorted(metrics)) or "none"}.',
      'config.checkpoint.best_metric',
      best_metric,
    )
  value = float(metrics[best_metric])
  return {best_metric: value} if math.isfinite(value) else {}


def read_score(metrics: Mapping[str, float], *, name: str) -> float:
  """Reads the rank of a step from what `score` returned."""
  return metrics.get(name, -math.inf)
