"""Reads the reference's checkpoints without running what is in them.

A run of the reference leaves `LOGDIR/ckpt/TIME/agent.pkl`, the pickle of
`{'params': {name: array}, 'counters': {...}}`; beside it an empty file `done`
once the save is complete, and in `ckpt` a file `latest` that names the folder.
Unpickling calls whatever a pickle names; this reader knows the few names that
arrays need, has stand-ins for them, and refuses all others.
"""

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from dreamer_nnx import paths

AGENT = 'agent.pkl'
# Folders that may hold `latest`; parallel runs have `agent`.
FOLDERS = ('.', 'ckpt', 'agent', 'ckpt/agent')

# Steps of a pickle; an array takes about forty.
STEPS = 300_000
# Bytes of arrays that a file may have beyond its own.
SLACK = 1 << 20
DTYPE = re.compile('b1|[iu][1248]|f[248]|bfloat16')


def load_reference(path: str | paths.Path) -> dict[str, np.ndarray]:
  """Loads the parameters of a run of the reference, under its names.

  Args:
    path: A logdir, its folder `ckpt`, one save in that, or its `agent.pkl`.

  Returns:
    Everything the agent saved: parameters, slow value, optimiser state,
    normalisers. The arrays are read-only.

  Raises:
    ValueError: there is no complete checkpoint; or the file is damaged, is not
      an agent of the reference, or names anything but arrays and containers.
  """
  file = _find(paths.parse(path, 'reference'))
  return _params(file, _unpickle(file))


class _ForbiddenError(ValueError):
  """A pickle names what arrays do not need."""


class _Dtype:
  """A dtype of numbers, and then its byte order."""

  def __init__(self, code: str):
    if not DTYPE.fullmatch(code):
      raise _ForbiddenError(f'dtype {code!r}')
    self.value = jnp.dtype(code)

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    if state[1] in ('<', '>'):
      self.value = self.value.newbyteorder(state[1])


class _Array:
  """An array, which may be made before it is filled."""

  value: np.ndarray | None = None

  def fill(
    self, data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str
  ) -> '_Array':
    # A view: what is named many times is not copied each time.
    self.value = np.frombuffer(data, dtype.value).reshape(shape, order=order)
    return self

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    _, shape, dtype, fortran, data = state
    self.fill(data, dtype, shape, 'F' if fortran else 'C')


def _dtype(code: str, align: bool = False, copy: bool = False) -> _Dtype:
  return _Dtype(code)


def _reconstruct(kind: str, shape: tuple[int, ...], code: bytes) -> _Array:
  return _Array()


def _scalar(dtype: _Dtype, data: bytes) -> _Array:
  return _Array().fill(data, dtype, (), 'C')


def _from_buffer(
  data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str
) -> _Array:
  return _Array().fill(data, dtype, shape, order)


def _empty(kind: type) -> Callable[..., Any]:
  # A call that fills it could copy what was read before, again and again.
  return lambda *filling: kind()


# numpy's own functions trust their arguments: a dtype made up by hand lets them
# read addresses out of the file. So a pickle gets to call or fill nothing of
# numpy's here, and no class that it could change.
ADMITTED = {
  ('numpy', 'ndarray'): 'ndarray',
  ('numpy', 'dtype'): _dtype,
  ('ml_dtypes', 'bfloat16'): 'bfloat16',
  ('collections', 'OrderedDict'): _empty(OrderedDict),
  **{
    ('builtins', kind.__name__): _empty(kind)
    for kind in (dict, frozenset, list, set, tuple)
  },
  # The core of numpy was `numpy.core` before numpy 2.
  **{
    (f'numpy.{core}.{name}', function): stand_in
    for core in ('core', '_core')
    for name, function, stand_in in (
      ('multiarray', '_reconstruct', _reconstruct),
      ('multiarray', 'scalar', _scalar),
      ('numeric', '_frombuffer', _from_buffer),
    )
  },
}


class _ArrayUnpickler(pickle.Unpickler):
  """Looks names up in a table; imports nothing."""

  def find_class(self, module: str, name: str) -> Any:
    try:
      return ADMITTED[module, name]
    except KeyError:
      raise _ForbiddenError(f'{module}.{name}') from None


def _find(path: paths.Path) -> paths.Path:
  if path.is_file():
    return path
  if not path.is_dir():
    raise ValueError(
      f'{path} does not exist: name a logdir of the reference, its folder '
      f"'ckpt', one save in that, or its {AGENT!r}."
    )
  if (path / AGENT).is_file():
    return _complete(path) / AGENT
  for folder in FOLDERS:
    if (path / folder / 'latest').is_file():
      return _complete(_latest(path / folder)) / AGENT
  raise ValueError(
    f"{path} holds no checkpoint of the reference: no {AGENT!r}, 'latest' or "
    f"'ckpt/latest'."
  )


def _latest(folder: paths.Path) -> paths.Path:
  name = paths.read(folder / 'latest').decode(errors='replace').strip()
  if not name or Path(name).name != name or not (folder / name).is_dir():
    raise ValueError(
      f'{folder / "latest"} names {name!r}, which is not a save there. '
      f'Complete saves: {", ".join(_saves(folder)) or "none"}.'
    )
  return folder / name


def _complete(save: paths.Path) -> paths.Path:
  missing = [name for name in (AGENT, 'done') if not (save / name).is_file()]
  if missing:
    raise ValueError(
      f'{save} is not a complete save: {" and ".join(missing)} missing. '
      f'Complete saves: {", ".join(_saves(save.parent)) or "none"}.'
    )
  return save


def _saves(folder: paths.Path) -> Iterator[str]:
  for save in paths.entries(folder):
    if (save / AGENT).is_file() and (save / 'done').is_file():
      yield save.name


class _Reader:
  """A file of which no more is asked for than it has."""

  def __init__(self, stream: BinaryIO, size: int):
    self._stream, self.size = stream, size
    self.readline, self.tell = stream.readline, stream.tell

  def read(self, count: int) -> bytes:
    return self._stream.read(min(count, self.size - self.tell()))


def _scan(reader: _Reader) -> None:
  """Refuses a pickle that would take much more memory than it has bytes.

  Raises:
    ValueError: It has too many steps, or numbers past what it holds.
  """
  for step, (code, value, _) in enumerate(pickletools.genops(reader)):
    put = code.name in ('PUT', 'BINPUT', 'LONG_BINPUT')
    if step > STEPS or (put and value > STEPS):
      raise ValueError(f'it has more than {STEPS} steps')
    if code.name == 'FRAME' and value > reader.size:
      raise ValueError(f'{value} bytes are to follow')


def _unpickle(file: paths.Path) -> Any:
  try:
    with file.open('rb') as stream:
      _scan(_Reader(stream, paths.size(file)))
      stream.seek(0)
      return _ArrayUnpickler(stream).load()
  except _ForbiddenError as error:
    raise ValueError(
      f'{file} names {error}, which no parameter needs: refused, nothing of '
      f'it was run. Is it an agent of the reference?'
    ) from None
  except MemoryError:
    raise
  # Damaged pickles raise errors of almost any kind.
  except Exception as error:
    raise ValueError(
      f'{file} cannot be read: it is cut off, damaged, or no pickle '
      f'({type(error).__name__}: {error}).'
    ) from error


def _params(file: paths.Path, data: Any) -> dict[str, np.ndarray]:
  params = data.get('params') if isinstance(data, dict) else None
  if not isinstance(params, dict) or not params:
    found = type(data).__name__
    if isinstance(data, dict):
      found = f'a dict of {", ".join(map(repr, data)) or "nothing"}'
    raise ValueError(
      f'{file} is not an agent of the reference: it holds {found}, not '
      f"{{'params': {{name: array}}, ...}}."
    )
  arrays = {}
  for name, value in params.items():
    if not isinstance(name, str):
      raise ValueError(f'{file}: params has the name {name!r}, not a string.')
    if not isinstance(value, _Array) or value.value is None:
      raise ValueError(
        f'{file}: params[{name!r}] is {type(value).__name__}, not an array.'
      )
    arrays[name] = value.value
  total, size = sum(x.nbytes for x in arrays.values()), paths.size(file)
  if total > size + SLACK:
    raise ValueError(f'{file} has {size} bytes, its arrays {total}: refused.')
  return {
    name: array.astype(array.dtype.newbyteorder('='), copy=False)
    for name, array in arrays.items()
  }
