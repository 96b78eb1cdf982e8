"""Interfaces of what is around an agent: environments, replay, loggers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

# The key of a batch that says how rows begin, see `Replay.sample`; no
# observation and no action begins with 'replay/'.
CONSEC = 'replay/consec'


@runtime_checkable
class VectorEnv(Protocol):
  """W environments stepped together, with next-step auto-reset.

  `reset` and `step` return a dict of (W, ...) numpy arrays: every key of
  `obs_space`, and `reward` float32, `is_first`, `is_last`, `is_terminal` bool.
  The step after `is_last` ignores its action and returns the first observation
  of the next episode, with `is_first` and reward 0. Keys `log/*` are for the
  loggers alone.

  It may have an attribute `interface`, an `interface.Interface` between it and
  what it wraps: policies that are loaded then speak as that does. And `repeat`,
  an int: how many steps of its simulator an action stands for. If it tells
  this, `frames` are logged, env steps times `repeat`. And a method `joined`,
  which is given the `stats` of all processes, among the other metrics that they
  log, and returns its own as one; without it they are averaged.
  """

  num_envs: int
  obs_space: Mapping[str, Any]
  action_space: Mapping[str, Any]

  def reset(self) -> dict[str, np.ndarray]: ...
  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...
  def close(self) -> None: ...

  def state(self) -> dict | None:
    """JSON-able state for an exact resume; None where there is none."""
    ...

  def restore(self, state: dict) -> None: ...
  def stats(self) -> dict[str, float]: ...


class Footprint(NamedTuple):
  """Room that a replay takes in its process once it is full.

  Args:
    steps: Steps that it then holds.
    begin: Steps of this process before there is enough to train on.
    memory: Bytes of memory.
    mapped: Bytes of files in `folder` that are mapped into memory.
    saved: Bytes of the files that saves keep.
  """

  steps: int
  begin: int = 0
  memory: int = 0
  mapped: int = 0
  folder: str = ''
  saved: int = 0


@runtime_checkable
class Replay(Protocol):
  """Experience of W workers, sampled as windows of consecutive steps.

  The builder is given `spaces`: shape and dtype of everything kept of one
  worker's step, by key. These are the observations, the actions, `reward`,
  `is_first`, `is_last`, `is_terminal`, the entries of the dynamics as
  `latent/*`, and what the behaviour adds, `acting/*`. Those of class indices
  have the numbers of their classes as an attribute, `classes`. It is also given
  `num_envs` W, `batch_size` B and `batch_length` T; `context_needed`, the steps
  that the dynamics read before the T that are trained on; and `signals`, the
  names of what `update` is told of steps.

  A window has `context` + T steps of one worker, in order. The last T are
  trained on; from the steps before them the dynamics resume, and the last of
  these has the previous action. With a `context` of 0 both come from where the
  same row of the batch before ended, so a window that does not go on from
  there has to begin with `is_first`.

  `ready` once there is enough of it to train on. `notes` are lines printed at
  the start. It may have an attribute `footprint`, a `Footprint` that
  `--mode=check` holds against memory and disks; and a method `check(index)`,
  which raises what `load` would, as far as it can tell without loading, and
  which `--mode=check` calls with each index of the checkpoint.
  """

  context: int
  ready: bool
  notes: Sequence[str]

  def __len__(self) -> int:
    """Steps held."""
    ...

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Appends one step (W, ...) of every worker: each key of `spaces`.

    Values are in their space; a float may come in another float format. The
    keys `latent/*` may be absent, all of them: such a step has no entry.
    """
    ...

  def sample(self) -> tuple[dict[str, np.ndarray], Any]:
    """Draws a batch; asked for when `ready`.

    Returns:
      A dict of numpy arrays (B, context + T, ...), with exactly the keys of
      `spaces`, each in the dtype of its space. It may have one more key,
      `CONSEC`, int32 (B,): 0 where a window begins from its context, positive
      where it goes on from the same row of the batch before, whose carry is
      then used, and -1 where steps of the context have no entries, so that it
      begins from nothing. Without that key all are 0.
      And a handle, any object: `update` gets it back, at most once, in the
      order of the batches, but perhaps after more steps and the next batch.

    The first batch of a run is checked, see `training/batch_check.py`.
    """
    ...

  def update(
    self,
    handle: Any,
    entries: Mapping[str, np.ndarray],
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Writes back what training found out about a batch.

    Args:
      handle: The one that `sample` returned with the batch.
      entries: (B, T, ...) by the names in `spaces`, `latent/*`: newer ones of
        the steps trained on, without those of the context.
      signals: (B, T) by name: `model`, the sum of the model's losses, and those
        of the behaviour; not finite after an overflow.
    """
    ...

  def save(self) -> dict:
    """Starts to persist everything unsaved; returns a JSON-able index.

    It is persisted as it is now, while what is held changes. A replay that
    stores nothing returns {}, and a resumed run begins with an empty one.
    """
    ...

  def wait(self) -> None:
    """Waits, in another thread, until all that the last index needs is safe."""
    ...

  def files(self, index: dict | None) -> Collection[str]:
    """Names of what an index of any process needs; None: all that is stored."""
    ...

  def retain(self, files: Collection[str]) -> None:
    """Deletes what is stored, unless among these names or in use here."""
    ...

  def load(self, index: dict) -> None:
    """Replaces what is held by what an index names.

    So many processes save as load; else see `load_share`.
    """
    ...

  def load_share(
    self, indices: Sequence[dict], share: int, shares: int
  ) -> None:
    """Replaces what is held by a share of what other replays saved.

    Together the shares hold everything, and nothing twice.
    """
    ...

  def stats(self) -> dict[str, float]:
    """Metrics since the last call, logged as `replay/*`."""
    ...


@runtime_checkable
class Logger(Protocol):
  """A sink of metrics: scalars, and videos (T, H, W, C) uint8.

  Its builder may have `check_packages`, static: raises a UserError if a package
  is missing, and makes nothing. `--mode=check` calls it.
  """

  def write(self, env_steps: int, metrics: Mapping[str, Any]) -> None: ...
  def close(self) -> None: ...


@runtime_checkable
class Selector(Protocol):
  """Chooses the sequences that a batch is made of.

  The builder is given `pool`, a `replay.chunks.ChunkPool`, and `context`.

  `share` is its part of all draws; with 0 it is left out. `wants` names the
  signals that `update` needs; one that there is not is an error when it is
  built. `columns` are numbers kept of every step, by name their format and the
  value of a new step; they are saved, recycled and handed over with the steps,
  as `pool.columns[name]`, (rows,).

  Optional: `update(rows, alive, signals)` after a batch was trained on, rows
  and alive (B, T), of which rows that are not alive were recycled or have a
  signal that is not finite; `state()`, a small JSON-able dict that is saved,
  and `restore(state)`. The columns saved are those after `state()`.
  """

  share: float
  wants: Sequence[str]
  columns: Mapping[str, tuple[Any, Any]]

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws (count,) starts of windows, of a pool that has at least one.

    What must not wait for the batch, such as counts of visits, is counted here.
    """
    ...


@runtime_checkable
class Callback(Protocol):
  """Code at fixed moments of the training loop, in every process.

  Whatever it decides must be the same in all processes. It makes no updates.

  Optional, one at least: `stepped(trainer, step, finished)` after each step of
  the environments, with the step (W, ...) and the episodes that ended;
  `updated(trainer, metrics)` after each update, with metrics on the device;
  `state()`, JSON-able and alike in all processes, which is saved, and
  `restore(state)`.
  """
