"""The published curves of the reference, from its folder `scores`.

Files are SUITE-METHOD.json.gz: a list of {task, method, seed, xs, ys}, with
frames and returns of episodes, or means of these. The values may be null.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamer_nnx.errors import UserError
from experiments.jobs.numbers import finite

METHOD = 'dreamerv3'


class Curve(NamedTuple):
  """The published curve of one run: frames and returns, (N,)."""

  task: str
  seed: str
  frames: np.ndarray
  returns: np.ndarray


def read(
  path: str, suite: str, prefix: str, methods: str
) -> dict[str, list[Curve]]:
  """Curves of each method, without those that have no number.

  Args:
    path: The folder, or the checkout that it is in.
    prefix: What its tasks' names begin with beside ours.
    methods: Names with commas, or `all`.

  Raises:
    UserError: There is no such folder, suite or method, or a file is broken.
  """
  folder = Path(path).expanduser()
  if (folder / 'scores').is_dir():
    folder = folder / 'scores'
  files = {
    file.name.removeprefix(f'{suite}-').removesuffix('.json.gz'): file
    for file in sorted(folder.glob(f'{suite}-*.json.gz'))
  }
  if not files:
    found = sorted({f.name.split('-')[0] for f in folder.glob('*.json.gz')})
    what = f'has no {suite}-METHOD.json.gz'
    hint = f', but {", ".join(found)}.' if found else '.'
    raise UserError(what + hint, '--reference', path)
  names = list(files) if methods == 'all' else methods.split(',')
  for name in names:
    if name not in files:
      raise UserError(
        f'there is no {suite}-{name}.json.gz. Methods: {", ".join(files)}.',
        '--methods',
        methods,
      )
  return {name: _curves(files[name], prefix) for name in names}


def _curves(file: Path, prefix: str) -> list[Curve]:
  try:
    records = json.loads(gzip.decompress(file.read_bytes()))
    curves = [_curve(record, prefix) for record in records]
  except (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
  ) as error:
    what = f'cannot be read as published scores ({error!r}).'
    raise UserError(what, '--reference', str(file)) from error
  return [curve for curve in curves if len(curve.frames)]


def _curve(record: dict[str, Any], prefix: str) -> Curve:
  task = record['task']
  if not isinstance(task, str):
    raise TypeError(f'task is {type(task).__name__}')
  frames, returns = _numbers(record['xs']), _numbers(record['ys'])
  if len(frames) != len(returns):
    raise ValueError('xs and ys are not of one length')
  good = np.isfinite(returns) & np.isfinite(frames)
  order = np.argsort(frames[good], kind='stable')
  return Curve(
    task.removeprefix(prefix),
    str(record['seed']),
    frames[good][order],
    returns[good][order],
  )


def _numbers(values: Any) -> np.ndarray:
  """Numbers of a list, NaN for those that are null or not finite."""
  if not isinstance(values, list):
    raise TypeError('xs or ys is no list')
  for value in values:
    # Also of whole numbers that are too large for one.
    if not isinstance(value, float | None) and finite(value) is None:
      raise ValueError('xs or ys has something that is no number')
  found = map(finite, values)
  return np.array([np.nan if x is None else x for x in found], float)
