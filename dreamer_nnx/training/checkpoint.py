"""Checkpoints of a run: written in the background, verified before loading.

A checkpoint directory holds one folder per step, and a step four items:

  state   flat dict of device arrays: parameters, statistics, optimiser, key
  loop    flat dict of host arrays of running episodes; absent when empty
  behind  empty: the replay's files are in a folder of its own
  meta    JSON: counters, what each process has (random states, replay index),
          resolved config

Every process of a run calls `save`, `restore` and `partial`. Host arrays and
JSON are those of the first one, which also verifies what is loaded.

They are read by `checkpoint_reading`, after `checkpoint_files` has found and
checked them, and `checkpoint_fit` held them against what a config builds.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from dreamer_nnx import paths
from dreamer_nnx.paths import Path
from dreamer_nnx.schema import OneOf, Range
from dreamer_nnx.training import checkpoint_files as files
from dreamer_nnx.training import checkpoint_fit as fit
from dreamer_nnx.training import processes, retention, snapshot
from dreamer_nnx.training.checkpoint_items import BehindHandler, beside
from dreamer_nnx.training.checkpoint_reading import (
  Partial,
  Restored,
  check,
  latest,
  load_meta,
  partial,
  restore,
)
from dreamer_nnx.training.evaluate import METRICS
from dreamer_nnx.training.flight import Flight

CheckpointError = files.CheckpointError
FOLDER = files.FOLDER
find = files.find

__all__ = [
  'FOLDER',
  'CheckpointError',
  'Checkpoints',
  'Partial',
  'Restored',
  'check',
  'find',
  'latest',
  'load_meta',
  'partial',
  'restore',
]


class Checkpoints:
  """The checkpoints of one run, in a directory of their own.

  Of all steps saved, those stay that are among the last `keep_last`, or
  `keep_every` steps after the previous one kept for this reason (0 for none),
  or have the highest `best_metric` so far if `keep_best`.

  A save that takes more than `patience` seconds is `slow`: it is better to put
  off the next one than to wait for it.

  Use as a context manager, or call `close`: a save still in flight when the
  process ends is lost.

  Args:
    directory: Folder or bucket of the checkpoints.
    keep_last: Newest checkpoints that are kept.
    keep_every: Environment steps, and offline updates, between checkpoints that
      are kept for good; 0 keeps none for this reason.
    keep_best: The checkpoint with the highest `best_metric` is kept, too.
    best_metric: Result of an evaluation by which checkpoints are compared.
    patience: Seconds after which a save counts as slow, so that the next one is
      put off.

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
