"""Replay of latent-carrying sequences from a pool of chunks."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import capacity as capacities
from dreamer_nnx.replay import generators, sharing
from dreamer_nnx.replay.archive import Archive
from dreamer_nnx.replay.batches import Handle, LongSample, annotate, latent_of
from dreamer_nnx.replay.checks import check_finite, check_shape, check_steps
from dreamer_nnx.replay.chunks import ChunkPool, step_bytes
from dreamer_nnx.replay.disk import ChunkDirectory
from dreamer_nnx.replay.online import OnlineQueue
from dreamer_nnx.replay.selectors import make_selector
from dreamer_nnx.replay.table import KINDS
from dreamer_nnx.schema import OneOf, Range
from dreamer_nnx.slots import REPLAY


@REPLAY.register('chunked')
@dataclasses.dataclass(eq=False, repr=False)
class ChunkedReplay:
  """Steps of W workers, sampled as windows of context + T steps.

  A batch has every key of `spaces` as (B, context + T, ...), and `CONSEC`
  int32 (B,): the number of its part in a long sample. One long sample of
  context + consec * T steps gives `consec` batches in a row that overlap by
  the context; the carry of one is good for the next. A long sample of which
  a step was recycled meanwhile is given up, and the next batch is a part 0.

  In a batch `is_last` also marks a step that the first of another episode
  follows, and without context the first step of a long sample is `is_first`.

  Not thread-safe: one thread adds, samples, updates and saves.

  Args:
    spaces: Shape and dtype of one worker's step, for each key kept. Keys
      `latent/*` can be written back.
    directory: Folder or bucket to save steps in; '' saves none.
    process, processes: Number of this replay, and count of all replays that
      share the directory.
    steps: Upper bound of the steps added to all replays; 0 if not known.
    scratch: Local folder of steps kept on disk; '' for one in the directory.
    capacity: Steps of all replays together, rounded down to whole chunks.
    chunk_size: Steps per chunk.
    storage: `memory`, `disk` (files mapped into memory), or `auto`, which is
      memory if three quarters of what is free suffice.
    context: Steps in front of the T that are trained on.
    consec: Batches per long sample.
    online: Train once, first, on each non-overlapping fresh sequence.
    uniform: Share of `Uniform` in the other draws.
    priority: Share of `Priority`.
    recency: Share of `Recency`.
    priority_exponent: Power of the step priorities; 0 is uniform.
    priority_max_fraction: Weight of the largest of a window against the mean.
    priority_initial: Priority of steps that have none yet.
    recency_exponent: Power of the age; 0 is uniform.
    save_latents: Whether latents are saved, as an exact resume needs. Without,
      a resumed run begins with latents of zeros.
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
  signals: Sequence[str] = ()
  _: dataclasses.KW_ONLY
  capacity: Annotated[int, Range(1)] = 5_000_000
  chunk_size: Annotated[int, Range(1)] = 1024
  storage: Annotated[str, OneOf('auto', 'memory', 'disk')] = 'auto'
  context: Annotated[int, Range(0)] = 1
  consec: Annotated[int, Range(1)] = 1
  online: bool = True
  uniform: Annotated[float, Range(0)] = 1.0
  priority: Annotated[float, Range(0)] = 0.0
  recency: Annotated[float, Range(0)] = 0.0
  priority_exponent: Annotated[float, Range(0)] = 0.8
  priority_max_fraction: Annotated[float, Range(0, 1)] = 0.5
  priority_initial: Annotated[float, Range(0)] = float('inf')
  recency_exponent: Annotated[float, Range(0)] = 1.0
  save_latents: bool = True
  save_waiting: Annotated[float, Range(0)] = 1.0
  skip_damaged: bool = False

  def __post_init__(self) -> None:
    if not (self.uniform or self.priority or self.recency):
      raise UserError(
        'uniform, priority and recency are all 0, so nothing draws sequences. '
        'Give at least one of them a share above 0.'
      )
    self._rng = np.random.Generator(np.random.PCG64(self.seed))
    self._long: LongSample | None = None
    self._counts = {'inserts': 0, 'samples': 0, 'updates': 0, 'lost': 0}
    self._build_pool()
    self._queue = OnlineQueue(self._pool) if self.online else None
    self._selector, self._priority = make_selector(self._pool, self)
    self._archive = None
    if self.directory:
      self._archive = Archive(
        self._pool,
        ChunkDirectory(self.directory, self.process),
        self._priority.powers if self._priority else None,
        self._priority.touched if self._priority else None,
        self.save_latents,
        self.save_waiting * 2**30,
      )

  def __len__(self) -> int:
    return self._pool.steps

  @property
  def priority_wanted(self) -> bool:
    """Tells whether `update` makes use of priorities."""
    return self.priority > 0

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

    Keys, shapes and dtypes are checked on the first step of every chunk.

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
    if self._queue is not None:
      self._queue.step()

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
    rows, part = self._next_part()
    length, begin = self.context + self.batch_length, part * self.batch_length
    # Rows (B, L) -> (B, context + T)
    batch = self._pool.gather(rows[:, begin : begin + length])
    following = rows[:, begin + 1 : begin + 1 + length]
    annotate(self._pool, batch, following, not self.context and not part)
    batch[CONSEC] = np.full(self.batch_size, part, np.int32)
    self._counts['samples'] += self.batch_size
    rows = rows[:, begin + self.context : begin + length]
    return batch, Handle(rows, self._pool.chunk_ids(rows))

  def update(
    self,
    handle: Handle,
    entries: Mapping[str, np.ndarray],
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Writes entries and priorities (B, T) back; recycled steps are left out.

    Args:
      handle: The one that `sample` returned with the batch.
      entries: (B, T, ...) arrays, named with or without `latent/`.
      signals: `model` is a priority, non-negative (B, T).

    Raises:
      ValueError: An unknown name, another shape, or a priority not finite.
    """
    rows, ids = handle
    alive = self._pool.chunk_ids(rows) == ids
    all_alive = bool(alive.all())
    priority = signals.get('model')
    if self._archive and entries:
      self._archive.mark_changed(rows[alive])
    for name, value in entries.items():
      flat = latent_of(self._pool.flat, name)
      value = np.asarray(value)
      check_shape(f"latent '{name}'", value, (*rows.shape, *flat.shape[1:]))
      # (B, T, ...) to rows (B, T), or those of them that are still held.
      if all_alive:
        flat[rows] = value
      else:
        flat[rows[alive]] = value[alive]
    if priority is not None and self._priority:
      priority = np.asarray(priority)
      check_shape('priority', priority, rows.shape)
      check_finite('priority', priority)
      self._pool.sync()
      self._priority.update(rows, alive, priority)
    self._counts['updates'] += int(alive.sum())
    self._counts['lost'] += int(alive.size - alive.sum())

  def save(self) -> dict:
    """Starts to store everything unsaved; returns the JSON-able index.

    It is stored as it is now, in the background, when `wait` returns. The same
    samples follow in this process and in one that loads the index.

    Raises:
      OSError: The steps of the save before this one could not be stored.
    """
    if self._priority:
      self._priority.zero_drawn()
    index = self._archive.save() if self._archive else {'chunks': []}
    index |= self._pool.state()
    index['rng'] = generators.to_json(self._rng)
    index['counts'] = self._counts.copy()
    if self._queue is not None:
      index['online'] = self._queue.state()
    if self._long:
      rows, ids, part = self._long
      index['long'] = [rows.tolist(), ids.tolist(), part]
    return index

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

    Latents that were not stored are zeros, with a warning.

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
    if self._priority:
      self._priority.reset(slice(0, pool.num_chunks))
    same = pool.fits(index)
    if self._archive is None:
      pool.clear()
    else:
      self._archive.load(index, same)
      if not self.skip_damaged:
        self._archive.refuse_skipped()
    continues = same and pool.restore(index)
    if self._queue is not None:
      online = index.get('online') if same else None
      self._queue.restore(online or {'run': 0, 'starts': []})
      if not continues:
        self._queue.run = 0
    self._long = None
    if same and index.get('long'):
      rows, ids, part = index['long']
      self._long = LongSample(np.array(rows), np.array(ids), part)
    if index['rng']:
      self._rng.bit_generator.state = generators.from_json(index['rng'])
      self._counts = dict(index['counts'])
    else:
      self._rng = generators.derived(self.seed, index['saves'])

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
    if self._queue is not None:
      stats['online_queue'] = len(self._queue)
    if self._archive:
      stats |= self._archive.stats()
    return {key: float(value) for key, value in stats.items()}

  def _build_pool(self) -> None:
    plan = capacities.plan(self)
    self.notes = plan.notes
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
    if self._priority:
      self._priority.reset(recycled)
    pool.advance()
    if archive:
      archive.recycle(recycled)
      archive.compact()
    if self._queue is not None:
      self._queue.drop_recycled()

  def _next_part(self) -> tuple[np.ndarray, int]:
    """Rows (B, L) of the long sample and the part of it to give out."""
    long, self._long = self._long, None
    if long is None or (self._pool.chunk_ids(long.rows) != long.ids).any():
      rows = self._draw()
      long = LongSample(rows, self._pool.chunk_ids(rows), 0)
    if long.part + 1 < self.consec:
      self._long = long._replace(part=long.part + 1)
    return self._pool.around(long.rows, 0, self._pool.length - 1), long.part

  def _draw(self) -> np.ndarray:
    count, fresh = self.batch_size, np.empty(0, np.int64)
    if self._queue is not None:
      fresh = self._queue.pop(count)
    if len(fresh) == count:
      return fresh
    rest = self._selector.select(self._rng, count - len(fresh))
    return np.concatenate([fresh, rest])
