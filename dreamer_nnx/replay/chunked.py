"""Replay of sequences with entries of the dynamics, from a pool of chunks."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choices
from dreamer_nnx.replay import capacity as capacities
from dreamer_nnx.replay import selectors as selecting
from dreamer_nnx.replay import sharing
from dreamer_nnx.replay.archive import Archive
from dreamer_nnx.replay.batches import Handle, annotate, consec_of
from dreamer_nnx.replay.checks import check_entries, check_steps
from dreamer_nnx.replay.chunks import ChunkPool, step_bytes
from dreamer_nnx.replay.disk import ChunkDirectory
from dreamer_nnx.replay.drawing import Drawing
from dreamer_nnx.replay.table import KINDS
from dreamer_nnx.schema import OneOf, Range
from dreamer_nnx.slots import REPLAY, SELECTOR

UNIFORM = Choices(SELECTOR, ('uniform',))


@REPLAY.register('chunked')
@dataclasses.dataclass(eq=False, repr=False)
class ChunkedReplay:
  """Steps of W workers, sampled as windows of context + T steps.

  A batch has every key of `spaces` as (B, context + T, ...), and `CONSEC`
  int32 (B,): the number of its part in a long sample, or -1 in a part 0 where
  a step of the context has no entry. One long sample of context + consec * T
  steps gives `consec` batches in a row that overlap by the context; the carry
  of one is good for the next. A long sample of which a step was recycled
  meanwhile is given up, and the next batch is a part 0.

  A step has an entry if it was added with its `latent/*`, or got them by
  `update`; of others these are zeros.

  In a batch `is_last` also marks a step that the first of another episode
  follows, and without context the first step of a long sample is `is_first`.

  Not thread-safe: one thread adds, samples, updates and saves.

  Args:
    spaces: Shape and dtype of one worker's step, for each key kept.
    directory: Folder or bucket to save steps in; '' saves none.
    process, processes: Number of this replay, and count of all replays that
      share the directory.
    steps: Upper bound of the steps added to all replays; 0 if not known.
    scratch: Local folder of steps kept on disk; '' for one in the directory.
    context_needed: Steps that the dynamics needs to resume from.
    signals: Names of what `update` is told of steps.
    capacity: Steps of all replays together, rounded down to whole chunks.
    chunk_size: Steps of a chunk, in which steps are stored, saved and dropped.
    storage: `memory`, `disk` (files mapped into memory), or `auto`, which is
      memory if three quarters of what is free suffice.
    context: Steps in front of the T that are trained on; -1 for what the
      dynamics needs, 0 for none, where the carry goes on from the last batch.
      As an attribute of the replay it is the resulting number.
    consec: Batches that go through a sample one after the other; above 1,
      samples are as many times as long.
    online: Trains first on each fresh sequence, once.
    selectors: What draws the other sequences, each by its share.
    save_latents: Saves the latents of steps, as an exact resume needs. Without,
      the steps of a resumed run have none at first.
    save_waiting: GiB of copies that may wait for a save to write them; then
      training waits.
    skip_damaged: `load` skips files that it cannot read back, and counts them.

  Raises:
    UserError: For settings that do not fit each other, or memory.
    OSError: The directory cannot be written.
  """

  spaces: Mapping[str, Any]
  num_envs: int
  batch_size: int
  batch_length: int
  directory: str
  seed: int
  process: int = 0
  processes: int = 1
  steps: int = 0
  scratch: str = ''
  context_needed: int = 1
  signals: Sequence[str] = ()
  _: dataclasses.KW_ONLY
  capacity: Annotated[int, Range(1)] = 5_000_000
  chunk_size: Annotated[int, Range(1)] = 1024
  storage: Annotated[str, OneOf('auto', 'memory', 'disk')] = 'auto'
  context: Annotated[int, Range(-1)] = -1
  consec: Annotated[int, Range(1)] = 1
  online: bool = True
  selectors: Choices = UNIFORM
  save_latents: bool = True
  save_waiting: Annotated[float, Range(0)] = 1.0
  skip_damaged: bool = False

  def __post_init__(self) -> None:
    self._resolve_context()
    self._counts = {'inserts': 0, 'samples': 0, 'updates': 0, 'lost': 0}
    self._build_pool()
    self._selectors = selecting.make(
      self.selectors, self._pool, self.context, self.signals
    )
    self._drawing = Drawing(self._pool, self._selectors, self)
    self._archive = None
    if self.directory:
      self._archive = Archive(
        self._pool,
        ChunkDirectory(self.directory, self.process),
        self.save_latents,
        self.save_waiting * 2**30,
      )

  def __len__(self) -> int:
    return self._pool.steps

  @property
  def sequences(self) -> int:
    """Stored starts: rows that a whole window of steps follows."""
    return self._pool.sequences

  @property
  def ready(self) -> bool:
    """Tells whether batch_size * batch_length sequences are held."""
    return self.sequences >= self.batch_size * self.batch_length

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Appends one step (W, ...) of every worker; keys `log/*` are left out.

    Without any key `latent/*`, the step has no entry. Keys, shapes and dtypes
    are checked on the first step of every chunk.

    Raises:
      ValueError: The steps do not have the keys and shapes of the spaces.
      TypeError: A value cannot become its space's dtype without loss.
      OSError: There is no room on the disk.
    """
    pool = self._pool
    if pool.offset == pool.chunk_size:
      self._advance(steps)
    if self._archive and self._archive.busy:
      slots = np.arange(pool.num_envs) + pool.newest * pool.num_envs
      self._archive.preserve(KINDS, slots * pool.chunk_size + pool.offset)
    pool.add(steps)
    self._counts['inserts'] += self._pool.num_envs
    self._drawing.step()

  def sample(self) -> tuple[dict[str, np.ndarray], Handle]:
    """Draws a batch of (B, context + T, ...) arrays; see `contracts.Replay`.

    Raises:
      ValueError: No sequence is held yet.
    """
    self._pool.sync()
    if not self._pool.sequences:
      raise ValueError(
        f'replay: {len(self)} steps are held and no worker has the '
        f'{self._pool.length} in a row that a sequence needs. Sample when '
        '`ready`.'
      )
    rows, part = self._drawing.next_part()
    length, begin = self.context + self.batch_length, part * self.batch_length
    following = rows[:, begin + 1 : begin + 1 + length]
    # Rows (B, L) -> (B, context + T)
    rows = rows[:, begin : begin + length]
    batch = self._pool.gather(rows)
    annotate(self._pool, batch, following, not self.context and not part)
    batch[CONSEC] = consec_of(self._pool, rows[:, : self.context], part)
    self._counts['samples'] += self.batch_size
    rows = rows[:, self.context :]
    return batch, Handle(rows, self._pool.chunk_ids(rows))

  def update(
    self,
    handle: Handle,
    entries: Mapping[str, np.ndarray],
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Writes entries back, and tells the selectors; see `contracts.Replay`.

    Recycled steps are left out, and of signals numbers that are not finite.

    Raises:
      ValueError: An unknown name or another shape; a wanted signal is absent.
      TypeError: An entry is not in the format of its space.
    """
    rows, ids = handle
    alive = self._pool.chunk_ids(rows) == ids
    entries = {key: np.asarray(value) for key, value in entries.items()}
    check_entries(entries, self._pool.flat, rows.shape)
    held = ... if alive.all() else alive
    where = rows[held]  # (B, T), or (n,) of those that are still held.
    if self._archive and entries:
      self._archive.mark_changed(where.reshape(-1))
    for key, value in entries.items():
      self._pool.flat[key][where] = value[held]
    if entries.keys() == set(self._pool.latents):
      self._pool.has_entry[where] = True
    self._pool.sync()
    self._selectors.update(rows, alive, signals)
    self._counts['updates'] += int(alive.sum())
    self._counts['lost'] += int(alive.size - alive.sum())

  def save(self) -> dict:
    """Starts to store everything unsaved; returns the JSON-able index.

    It is stored as it is now, in the background, when `wait` returns. The same
    samples follow in this process and in one that loads the index.

    Raises:
      OSError: The steps of the save before this one could not be stored.
    """
    # First the selectors, for their columns are saved.
    state = self._drawing.state()
    index = self._archive.save() if self._archive else {'chunks': []}
    return index | self._pool.state() | state | {'counts': self._counts.copy()}

  def wait(self) -> None:
    """Waits until all that the last index names is on disk, in any thread.

    Raises:
      OSError: It could not be stored.
    """
    if self._archive:
      self._archive.wait()

  def files(self, index: dict | None) -> set[str]:
    """Names of the files that an index of any process needs; None: all."""
    if index is None:
      return self._archive.stored_files() if self._archive else set()
    return sharing.files(index)

  def retain(self, files: Collection[str]) -> None:
    """Deletes stored files of no use here and not among these names."""
    if self._archive:
      self._archive.retain(files, self.process, self.processes)

  def load(self, index: dict) -> None:
    """Replaces the steps held by those that an index names.

    Entries that were not stored, or are of other dynamics, count as absent,
    with a warning.

    Raises:
      UserError: A file that the index names is missing, torn or foreign. With
        `skip_damaged` it is skipped with a warning and counted; no sequence
        bridges the gap.
    """
    self.load_share([index], 0, 1)

  def load_share(
    self, indices: Sequence[dict], share: int, shares: int
  ) -> None:
    """Replaces the steps held by a share of the saved ones; see `load`."""
    index, pool = sharing.share_of(indices, share, shares), self._pool
    if self._archive is None and index['chunks']:
      raise ValueError('replay: without a directory there is none to load.')
    same = pool.fits(index)
    if self._archive is None:
      pool.clear()
    else:
      self._archive.load(index, same)
      if not self.skip_damaged:
        self._archive.refuse_skipped()
    self._drawing.restore(index, same, same and pool.restore(index))
    if index['counts']:
      self._counts = dict(index['counts'])

  def check(self, index: dict) -> None:
    """Raises what `load` would, from sizes and descriptions of the files.

    What is held stays.
    """
    sharing.share_of([index], 0, 1)
    if self._archive and not self.skip_damaged:
      self._archive.check(index, self._pool.fits(index))
      self._archive.refuse_skipped()

  def stats(self) -> dict[str, float]:
    """Numbers of what is held, and of what happened since the last call."""
    counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
    counts['written_back'] = counts.pop('updates')
    trained = counts['samples'] * self.batch_length
    stats = {
      'steps': len(self),
      'sequences': self.sequences,
      'chunks': int((self._pool.lengths > 0).sum()),
      'size_gib': len(self) * self._step_bytes / 2**30,
      **counts,
      'train_ratio': trained / max(1, counts['inserts']),
    }
    if self.online:
      stats['online_queue'] = self._drawing.waiting
    if self._archive:
      stats |= self._archive.stats()
    return {key: float(value) for key, value in stats.items()}

  def _resolve_context(self) -> None:
    needed = self.context_needed
    if self.context < 0:
      self.context = needed
    if 0 < self.context < needed:
      raise UserError(
        f'the dynamics needs {needed} steps to resume from. Set -1 for these, '
        'or 0 for none.',
        'context',
        self.context,
      )

  def _build_pool(self) -> None:
    plan = capacities.plan(self)
    self.notes, self.footprint = plan.notes, plan.footprint
    self._step_bytes = step_bytes(self.spaces)
    self._pool = ChunkPool(
      self.spaces,
      self.num_envs,
      plan.groups,
      self.chunk_size,
      self.context + self.consec * self.batch_length,
      plan.storage,
    )
    self._pool.next_id = self.process * sharing.RANGE

  def _advance(self, steps: Mapping[str, np.ndarray]) -> None:
    """Opens the next chunks, for steps like these."""
    pool, archive = self._pool, self._archive
    recycled = pool.slots(pool.oldest)
    check_steps(steps, {k: v[recycled] for k, v in pool.arrays.items()})
    pool.advance()
    if archive:
      archive.recycle(recycled)
      archive.compact()
    self._drawing.drop_recycled()
