"""Reads checkpoints: whole steps, parts of them, or what they say.

What is loaded was verified before, and held against what a config builds.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from dreamer_nnx import paths
from dreamer_nnx.paths import Path
from dreamer_nnx.training import checkpoint_files as files
from dreamer_nnx.training import checkpoint_fit as fit
from dreamer_nnx.training import limits, processes

CheckpointError = files.CheckpointError
find = files.find
State = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Restored:
  """Everything a step holds; `loop` is empty where none was saved."""

  state: State
  loop: dict[str, np.ndarray]
  meta: dict[str, Any]
  step: int


class Partial(NamedTuple):
  """A part of a state, the names in it, and the other names of the target."""

  state: State
  loaded: list[str]
  not_loaded: list[str]


def restore(
  path: str | Path, target: fit.Target, step: int | None = None
) -> Restored:
  """Loads a whole step, after every leaf of the target was found to fit.

  Args:
    path: As `find` takes it.
    target: Shape, dtype and sharding of each array that the config builds;
      the devices may be others than those that saved.
    step: As `find` takes it.

  Raises:
    CheckpointError: as in `find`; or a newer version has written it; or
      leaves are missing, left over, or of another shape or dtype.
  """
  root = _verified(path, step, ('state', 'loop', 'meta'))
  meta = _load_meta(root)
  held, added, stored = _fitting(root, target)
  loop = {}
  if (root / 'loop').is_dir():
    with files.reading(root, 'loop'):
      limits.check_total(_saved(root, 'loop'), root / 'loop')
    loop = _load(root, 'loop', ocp.args.PyTreeRestore())
  meta, loop = fit.upgraded(meta, loop)
  return Restored(
    state=_load_arrays(root, held, stored) | added,
    loop={name: np.asarray(value) for name, value in loop.items()},
    meta=meta,
    step=int(root.name),
  )


def check(
  path: str | Path, target: fit.Target, step: int | None = None
) -> None:
  """Checks that `restore` can load a step; raises as it does."""
  root = _verified(path, step, ('state', 'loop', 'meta'))
  _load_meta(root)
  _fitting(root, target)


def partial(
  path: str | Path,
  target: fit.Target,
  include: str,
  exclude: str = '',
  step: int | None = None,
) -> Partial:
  """Loads the leaves whose names match `include` and do not match `exclude`.

  A leaf that matches and is not there is among the names not loaded.

  Args:
    path: As `find` takes it.
    target: As `restore` takes it.
    include: Regular expression, searched for in names like
      `encoder/mlp/layers/0/linear/kernel`.
    exclude: Regular expression, searched for too; empty excludes nothing.
    step: As `find` takes it.

  Raises:
    CheckpointError: as in `find`; or a newer version has written it; or no
      leaf matches, or one does not fit.
    ValueError: an expression is not valid.
  """
  wanted = fit.matching(target, include, exclude)
  root = _verified(path, step, ('state', 'meta'))
  _load_meta(root)
  saved, stored = fit.renamed(target, _saved(root))
  loaded = sorted(wanted & saved.keys())
  if not loaded:
    held = sorted({re.sub('/.*', '/', name) for name in saved})
    without = f' without {exclude!r}' if exclude else ''
    raise CheckpointError(
      f'matches nothing{without} that is both in checkpoint step {root.name} '
      f'and in this config. The checkpoint holds {", ".join(held)}.',
      '--restore_include',
      include,
    )
  part = {name: target[name] for name in loaded}
  fit.check(root.name, {name: saved[name] for name in loaded}, part)
  return Partial(
    _load_arrays(root, part, stored),
    loaded,
    sorted(target.keys() - set(loaded)),
  )


def arrays(
  path: str | Path, target: fit.Target, step: int | None = None
) -> State:
  """Loads the arrays of a target, which may be a part of those of a step.

  Args:
    path, target, step: As `restore` takes them.

  Raises:
    CheckpointError: as in `find`; or one is missing, or of another shape or
      dtype.
  """
  root = _verified(path, step, ('state',))
  saved, stored = fit.renamed(target, _saved(root))
  fit.check(root.name, {k: x for k, x in saved.items() if k in target}, target)
  return _load_arrays(root, target, stored)


def latest(path: str | Path, step: int | None = None) -> int | None:
  """The step that the first process finds; None if there is none at all.

  Raises:
    CheckpointError: as in `find`, but for a path that holds no checkpoint.
  """
  look = lambda: files.latest(path, step)
  return processes.in_first(look, CheckpointError)


def shapes(path: str | Path, step: int | None = None) -> fit.Leaves:
  """Shape and dtype of every array in the state of a step, by stored name.

  Nothing is loaded; raises as `find`.
  """
  return _saved(find(path, step))


def load_meta(path: str | Path, step: int | None = None) -> dict[str, Any]:
  """Loads `meta` alone, in any process by itself; raises as `find`."""
  root = find(path, step)
  files.verify(root, ('meta',))
  return _load_meta(root)


def _verified(
  path: str | Path, step: int | None, items: tuple[str, ...]
) -> Path:
  """Finds a step and reads it through once, in the first process, for all."""

  def look() -> str:
    root = find(path, step)
    files.verify(root, items)
    return str(root)

  return paths.parse(processes.in_first(look, CheckpointError), 'checkpoint')


def _fitting(
  root: Path, target: fit.Target
) -> tuple[fit.Target, State, dict[str, str]]:
  """Splits a target as `split_target` does; and the names as stored."""
  saved, stored = fit.renamed(target, _saved(root))
  return *fit.split_target(root.name, saved, target), stored


def _load(root: Path, item: str, args: ocp.args.CheckpointArgs) -> Any:
  # A fresh reader each time: one reader binds a name to its first handler.
  handler = ocp.CompositeCheckpointHandler()
  with files.reading(root, item), ocp.Checkpointer(handler) as reader:
    return reader.restore(root, args=ocp.args.Composite(**{item: args}))[item]


def _load_arrays(
  root: Path, target: fit.Target, stored: Mapping[str, str]
) -> State:
  for name, leaf in target.items():
    if leaf.sharding is None:
      raise ValueError(f'{name}: the target of a restore needs a sharding.')
  wanted = {stored[name]: leaf for name, leaf in target.items()}
  args = ocp.args.PyTreeRestore(
    wanted,
    restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
    partial_restore=True,
  )
  loaded = _load(root, 'state', args)
  state = {name: loaded[stored[name]] for name in target}
  fit.check_dtypes(root.name, state, target)
  return state


def _load_meta(root: Path) -> dict[str, Any]:
  # A Checkpointer would need a call by every process, so none is used.
  with files.reading(root, 'meta'):
    meta = ocp.JsonCheckpointHandler().restore(epath.Path(root / 'meta'))
  files.check_format(root, meta)
  with files.reading(root, 'meta'):
    limits.check_meta(meta)
  return meta


def _saved(root: Path, item: str = 'state') -> fit.Leaves:
  with files.reading(root, item):
    tree = ocp.PyTreeCheckpointHandler().metadata(root / item).tree
    for name, leaf in tree.items():
      limits.check_chunks(name, leaf)
    return {
      name: (tuple(leaf.shape), np.dtype(leaf.dtype))
      for name, leaf in tree.items()
    }
