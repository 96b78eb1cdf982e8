"""Replay of two replays: whole rows of each batch from each."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from dreamer_nnx import contracts, streams
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.replay.index import IndexFormError
from dreamer_nnx.schema import Range
from dreamer_nnx.slots import REPLAY
from dreamer_nnx.streams import Stream

LIVE, DATA = 'live', 'data'
Batch = dict[str, np.ndarray]


class Rows(NamedTuple):
  """Rows of a batch that one replay gave, and its own handle of them."""

  replay: contracts.Replay
  handle: Any
  rows: slice


@REPLAY.register('mixture')
class MixtureReplay:
  """Batches of which some rows are data and the others the run's own steps.

  Of B rows the last round(share B) are of `data`, in every batch. While there
  are no steps of the run at all, before its first action, all rows are.

  Each replay is told of its own rows by `update`. What `data` holds is not
  saved with the run, but its draws are.

  Args:
    live: Replay of the steps of the environments.
    data: Replay that the other rows are of.
    share: Part of the rows of a batch that are of `data`.

  Raises:
    UserError: The share is none, or all, of the rows.
  """

  def __init__(
    self,
    spaces: Mapping[str, Any],
    num_envs: int,
    batch_size: int,
    batch_length: int,
    directory: str,
    seed: int,
    process: int,
    processes: int,
    steps: int,
    scratch: str,
    context_needed: int,
    signals: Sequence[str],
    *,
    live: Choice = Choice(REPLAY, 'chunked'),
    data: Choice = Choice(REPLAY, 'dataset'),
    share: Annotated[float, Range(0, 1)] = 0.25,
  ):
    count = round(share * batch_size)
    if not 0 < count < batch_size:
      of = 'none' if not count else 'all'
      raise UserError(
        f'is {of} of the {batch_size} rows of a batch in each process. Choose '
        'some of them, or one of the two replays alone.',
        'share',
        share,
      )
    self._batch_size = batch_size
    given = {
      'spaces': spaces,
      'num_envs': num_envs,
      'batch_length': batch_length,
      'process': process,
      'processes': processes,
      'steps': steps,
      'scratch': scratch,
      'context_needed': context_needed,
      'signals': signals,
    }
    self._live = live(
      **given, batch_size=batch_size - count, directory=directory, seed=seed
    )
    seed = streams.seed(seed, Stream.SHARED_REPLAY, 0)
    self._data = data(**given, batch_size=count, directory='', seed=seed)
    self._parts = {LIVE: self._live, DATA: self._data}
    self.context = min(x.context for x in self._parts.values())
    self._length = self.context + batch_length
    self.notes = [*self._live.notes, *self._data.notes]
    self.footprint = _together(self._live, self._data)

  def __len__(self) -> int:
    return len(self._live) + len(self._data)

  @property
  def ready(self) -> bool:
    return self._data.ready and (self._live.ready or not len(self._live))

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Adds a step to `live`."""
    self._live.add(steps)

  def sample(self) -> tuple[Batch, list[Rows]]:
    """Draws a batch; see `contracts.Replay`."""
    batches, handle, count = [], [], 0
    replay = self._live if len(self._live) else self._data
    while count < self._batch_size:
      batch, inner = replay.sample()
      batch, rows = self._fitted(batch, self._batch_size - count)
      # A part of what was drawn is not trained on as a whole.
      place = slice(count, count + rows)
      if rows == len(batch['is_first']):
        handle.append(Rows(replay, inner, place))
      batches.append({key: x[:rows] for key, x in batch.items()})
      count, replay = place.stop, self._data
    names = batches[0]
    joined = {k: np.concatenate([x[k] for x in batches]) for k in names}
    return joined, handle

  def update(
    self,
    handle: list[Rows],
    entries: Mapping[str, np.ndarray],
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Hands each replay what is of its rows; see `contracts.Replay`."""
    for replay, inner, rows in handle:
      of = lambda values, rows=rows: {k: x[rows] for k, x in values.items()}
      replay.update(inner, of(entries), of(signals))

  def save(self) -> dict:
    return {name: replay.save() for name, replay in self._parts.items()}

  def wait(self) -> None:
    for replay in self._parts.values():
      replay.wait()

  def files(self, index: dict | None) -> Collection[str]:
    if index is None:
      return set(self._live.files(None))
    return set(self._live.files(_part(index, LIVE)))

  def retain(self, files: Collection[str]) -> None:
    self._live.retain(files)

  def load(self, index: dict) -> None:
    parts = {name: _part(index, name) for name in self._parts}
    for name, replay in self._parts.items():
      replay.load(parts[name])

  def load_share(
    self, indices: Sequence[dict], share: int, shares: int
  ) -> None:
    parts = {name: [_part(x, name) for x in indices] for name in self._parts}
    for name, replay in self._parts.items():
      replay.load_share(parts[name], share, shares)

  def check(self, index: dict) -> None:
    """Lets each replay that can check its part of an index."""
    parts = {name: _part(index, name) for name in self._parts}
    for name, replay in self._parts.items():
      getattr(replay, 'check', lambda index: None)(parts[name])

  def stats(self) -> dict[str, float]:
    """Metrics of `live`, and of `data` as `data/*`."""
    data = {f'{DATA}/{k}': x for k, x in self._data.stats().items()}
    return self._live.stats() | data

  def _fitted(self, batch: Batch, most: int) -> tuple[Batch, int]:
    """Cuts windows to the common context; counts the rows to take."""
    consec = batch.get(CONSEC)
    rows = len(batch['is_first'])
    steps = {k: x[:, -self._length :] for k, x in batch.items() if k != CONSEC}
    steps[CONSEC] = np.zeros(rows, np.int32) if consec is None else consec
    return steps, min(rows, most)


def _together(
  live: contracts.Replay, data: contracts.Replay
) -> contracts.Footprint:
  """The room of both, as far as they tell it; data are never on disk."""
  one, other = (
    getattr(x, 'footprint', contracts.Footprint(0)) for x in (live, data)
  )
  return one._replace(
    steps=one.steps + other.steps, memory=one.memory + other.memory
  )


def _part(index: Any, name: str) -> Any:
  if not isinstance(index, Mapping) or name not in index:
    raise IndexFormError(
      f'replay index: no mixture saves one without {name!r}.'
    )
  return index[name]
