"""Checkpoints of a run: written in the background, verified before loading.

A checkpoint directory holds one folder per step, and a step four items:

  state   flat dict of device arrays: parameters, statistics, optimiser, key
  loop    flat dict of host arrays of running episodes; absent when empty
  behind  empty: the replay's files are in a folder of its own
  meta    JSON: counters, what each process has (random states, replay index),
          resolved config

Every process of a run calls `save`, `restore` and `partial`. Host arrays and
JSON are those of the first one, which also verifies what is loaded.

They are found and checked by `checkpoint_files` and held against what a config
builds by `checkpoint_fit`, both before anything is loaded.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from dreamer_nnx import paths
from dreamer_nnx.paths import Path
from dreamer_nnx.schema import OneOf, Range
from dreamer_nnx.training import checkpoint_files as files
from dreamer_nnx.training import checkpoint_fit as fit
from dreamer_nnx.training import limits, processes, retention, snapshot
from dreamer_nnx.training.checkpoint_items import BehindHandler, beside
from dreamer_nnx.training.evaluate import METRICS
from dreamer_nnx.training.flight import Flight

CheckpointError = files.CheckpointError
FOLDER = files.FOLDER
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


class Checkpoints:
  """The checkpoints of one run, in a directory of their own.

  Of all steps saved, those stay that are among the last `keep_last`, or
  `keep_every` steps after the previous one kept for this reason (0 for none),
  or have the highest `best_metric` so far if `keep_best`.

  A save that takes more than `patience` seconds is `slow`: it is better to put
  off the next one than to wait for it.

  Use as a context manager, or call `close`: a save still in flight when the
  process ends is lost.

  Raises:
    CheckpointError: the directory cannot be made or written.
  """

  def __init__(
    self,
    directory: str | Path,
    *,
    keep_last: Annotated[int, Range(1)] = 2,
    keep_every: Annotated[int, Range(0)] = 0,
    keep_best: bool = True,
    best_metric: Annotated[str, OneOf(*METRICS)] = 'eval/return',
    patience: Annotated[float, Range(0)] = 2.0,
  ):
    self._directory = files.writable(
      paths.parse(directory, 'checkpoint directory')
    )
    self._best_metric = best_metric if keep_best else None
    self._pending: int | None = None
    self._patience, self._told = patience, False
    self._snapshot = snapshot.Snapshot()
    self._flight = Flight()
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=retention.options(
        self._directory,
        keep_last,
        keep_every,
        self._best_metric,
        self._write_manifest,
      ),
      # Parameters hardly compress; trying takes cores from the update.
      item_handlers={
        'state': ocp.PyTreeCheckpointHandler(use_compression=False),
        'loop': ocp.PyTreeCheckpointHandler(),
        'meta': ocp.JsonCheckpointHandler(),
        'behind': BehindHandler(),
      },
    )

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *exc_info: object) -> None:
    self.close()

  def steps(self) -> list[int]:
    """Steps kept, in order, with the one being saved."""
    self._flight.wait_begun()
    return sorted(self._manager.all_steps())

  def latest(self) -> int | None:
    return max(self.steps(), default=None)

  def save(
    self,
    step: int,
    state: Mapping[str, jax.Array],
    loop: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
    behind: Callable[[], None] | None = None,
  ) -> bool:
    """Starts to save a step; its arrays may be donated or changed after.

    On the CPU this keeps a copy of the state, to write it from.

    Args:
      step: Larger than every step saved before.
      state: Named device arrays; typed PRNG keys are welcome.
      loop: Named host arrays; leave empty where there are none.
      meta: JSON-able; a copy is taken.
      metrics: Holds the evaluation metric that ranks this step, if any.
      behind: Waits for what else belongs to the step, such as its replay; the
        step appears when this has returned in all processes.

    Returns:
      False, and nothing is done, if the step is already saved.

    Raises:
      CheckpointError: an earlier step is given, an array cannot be stored, or
        the save before this one failed in the background.
      TypeError: `meta` is no JSON.
    """
    self.wait()
    step, steps = int(step), self.steps()
    if step in steps:
      return False
    if steps and step < steps[-1]:
      raise CheckpointError(
        f'checkpoint step {step} is older than step {steps[-1]}, the latest '
        f'in {self._directory}: continue from it or use another workdir.'
      )
    items = beside(state, loop, meta, behind)
    score = fit.score(self._best_metric, metrics)
    self._pending, self._told = step, False
    if is_copied := snapshot.is_on_cpu(state):
      state = self._snapshot.take(state)
    args = ocp.args.Composite(state=ocp.args.PyTreeSave(dict(state)), **items)
    with self._saving():
      self._flight.start(
        lambda: self._save_in_thread(step, args, score),
        # The manager tells each thread of a failed save, so it has but one.
        self._manager.wait_until_finished,
      )
      if not is_copied:
        self._join()
    return True

  def restore(self, target: fit.Target, step: int | None = None) -> Restored:
    """Waits for a save in flight, then `restore`s from this directory."""
    self.wait()
    return restore(self._directory, target, step)

  def close(self) -> None:
    """Waits for a save in flight; raises CheckpointError if it failed."""
    try:
      self.wait()
    finally:
      self._flight.call(self._manager.close)

  def _save_in_thread(
    self, step: int, args: ocp.args.Composite, score: Any
  ) -> bool:
    if processes.first():
      files.make_room(self._directory, step)
    return self._manager.save(step, args=args, metrics=score)

  def _write_manifest(self) -> None:
    # Runs in the thread that saves, after the arrays are on disk and before
    # the step becomes visible: both or neither appear.
    files.write_manifest(files.unfinished(self._directory, self._pending))

  def slow(self) -> bool:
    """Tells whether a save takes longer than `patience`; waits that long.

    Warns the first time, for each save.
    """
    slow = not self._flight.over(self._patience - self._flight.seconds)
    if slow and not self._told:
      self._told = True
      logging.warning(
        'checkpoint step %d is still being written to %s, after %.1f s. '
        'No other save begins until it is done.',
        *(self._pending, self._directory, self._flight.seconds),
      )
    return slow

  def wait(self) -> None:
    """Waits for a save in flight; raises CheckpointError if it failed."""
    self.slow()
    with self._saving():
      self._join()
      if self._flight.join():
        files.sync(self._directory, self._pending)

  def _join(self) -> None:
    if not self._flight.join_begun():
      raise CheckpointError('the manager refused it')

  @contextlib.contextmanager
  def _saving(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      raise CheckpointError(
        f'checkpoint step {self._pending} was not saved in '
        f'{self._directory}: {files.reason(error)}'
      ) from error


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
    CheckpointError: as in `find`; or leaves are missing, left over, or of
      another shape or dtype.
  """
  root = _verified(path, step, ('state', 'loop', 'meta'))
  saved, stored = fit.renamed(target, _saved(root))
  held, added = fit.split_target(root.name, saved, target)
  meta = _load_meta(root)
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
    CheckpointError: as in `find`; or no leaf matches, or one does not fit.
    ValueError: an expression is not valid.
  """
  wanted = fit.matching(target, include, exclude)
  root = _verified(path, step, ('state',))
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


def latest(path: str | Path, step: int | None = None) -> int | None:
  """The step that the first process finds; None if there is none at all.

  Raises:
    CheckpointError: as in `find`, but for a path that holds no checkpoint.
  """
  look = lambda: files.latest(path, step)
  return processes.in_first(look, CheckpointError)


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
