"""A ring of fixed-size chunks of steps, linked into one stream per worker."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dreamer_nnx.replay.storage import Memory, Storage


def step_bytes(spaces: Mapping[str, Any]) -> int:
  """Bytes of one step of one worker."""
  return sum(
    int(np.prod(space.shape, dtype=np.int64)) * np.dtype(space.dtype).itemsize
    for space in spaces.values()
  )


class ChunkPool:
  """Steps of W workers in one preallocated array per key.

  Chunks are held in slots; W neighbouring slots form a group, filled in
  lock-step by the W workers. Groups are a ring in order of age, so opening a
  group on a full pool recycles the oldest one, and the next chunk of one that
  is held is younger and hence held, too. A *row* is slot * chunk_size + offset;
  row -1 and slot -1 stand for a missing one. A *start* is a row from which
  `length` consecutive steps of the same worker are held.

  `ids` are the chunks' numbers, never used twice: a slot whose id changed has
  been recycled. Arrays (slots + 1,) have one more entry, which -1 reads.

  `flat` has the steps, (rows, ...) by key, and `has_entry` (rows,) tells which
  of them have their `latent/*`; of the others these are zeros.

  A selector may read all that has no underscore, and use:

    columns      numbers of each step, by name (rows,), there when all selectors
                 are built; it sets its own
    starts       (slots + 1,) how many rows of each slot are starts, from its
                 first on; `sequences` are these together
    lengths      (slots + 1,) steps held in each slot
    newest       the youngest group; the slots of a group are `slots(group)`
    chunk_size, length, num_chunks, num_groups, num_envs
    around(rows, before, after)   rows of the steps next to given ones
    is_start(rows)                which rows are starts
    before_recycling(function)    to forget the steps of recycled chunks

  Drawing in proportion to weights of starts is done by `weights.StartWeights`.
  """

  def __init__(
    self,
    spaces: Mapping[str, Any],
    num_envs: int,
    num_groups: int,
    chunk_size: int,
    length: int,
    storage: Storage | None = None,
  ):
    self.num_envs = num_envs
    self.num_groups = num_groups
    self.num_chunks = num_chunks = num_groups * num_envs
    self.chunk_size = chunk_size
    self.length = length
    self._storage = storage = storage or Memory()
    self._reserved = np.zeros(self.num_chunks, bool)
    self.arrays = {
      key: storage.array((num_chunks, chunk_size, *space.shape), space.dtype)
      for key, space in spaces.items()
    }
    # (slots, chunk_size, ...) -> (rows, ...)
    self.flat = {
      key: array.reshape(-1, *array.shape[2:])
      for key, array in self.arrays.items()
    }
    self.latents = tuple(key for key in spaces if key.startswith('latent/'))
    self._no_entry = {k: np.zeros((), spaces[k].dtype) for k in self.latents}
    self.has_entry = np.zeros(num_chunks * chunk_size, bool)
    self.columns: dict[str, np.ndarray] = {}
    self._initial: dict[str, Any] = {}
    self._recycling: list[Callable[[slice], None]] = []
    self.hops = (chunk_size + length - 2) // chunk_size
    self.next_id = 0
    self.clear()

  def add_columns(self, columns: Mapping[str, tuple[Any, Any]]) -> None:
    """Keeps numbers of every step: by name their format and first value."""
    for name, (dtype, initial) in columns.items():
      self._initial[name] = np.dtype(dtype).type(initial)
      self.columns[name] = np.full(len(self.has_entry), initial, dtype)

  def before_recycling(self, function: Callable[[slice], None]) -> None:
    """Calls a function with slots, before the steps in them are given up."""
    self._recycling.append(function)

  def clear(self) -> None:
    """Empties the pool; ids go on."""
    self._forget(slice(0, self.num_chunks))
    self.has_entry[:] = False
    count = self.num_chunks + 1
    self.ids = np.full(count, -1, np.int64)
    self.next_slot = np.full(count, -1, np.int64)
    self.prev_slot = np.full(count, -1, np.int64)
    self.lengths = np.zeros(count, np.int64)
    self.starts = np.zeros(count, np.int64)
    self.newest = -1  # The youngest group.
    self.offset = self.chunk_size  # Where the open group is written next.
    self.open = False  # Whether the workers' streams go on in `newest`.
    self._heads: list[tuple[str, np.ndarray]] = []
    self._entry_head = np.zeros((0, self.num_envs), bool)
    self._synced = True
    self._steps = 0
    self._sequences = 0

  @property
  def steps(self) -> int:
    self.sync()
    return self._steps

  @property
  def sequences(self) -> int:
    """Number of starts."""
    self.sync()
    return self._sequences

  def slots(self, group: int) -> slice:
    first = group * self.num_envs
    return slice(first, first + self.num_envs)

  @property
  def oldest(self) -> int:
    """Group that is opened next, recycling its chunks."""
    return (self.newest + 1) % self.num_groups

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Writes one step (W, ...) into the open group, which has room.

    Without any `latent/*` it has no entry.
    """
    offset, given = self.offset, True
    if self.latents and self.latents[0] not in steps:
      given = any(key in steps for key in self.latents)
      steps = steps if given else {**steps, **self._no_entry}
    for key, head in self._heads:
      head[offset] = steps[key]
    self._entry_head[offset] = given
    self.offset = offset + 1
    self._synced = False

  def advance(self) -> None:
    """Opens the next group, recycling the oldest if the ring is full."""
    self.sync()
    group = self.oldest
    for slot in range(group * self.num_envs, (group + 1) * self.num_envs):
      self.reserve(slot)
    new, old = self.slots(group), self.slots(self.newest)
    self._drop(new)
    self.ids[new] = np.arange(self.next_id, self.next_id + self.num_envs)
    self.next_id += self.num_envs
    if self.open:
      self.next_slot[old] = np.arange(new.start, new.stop)
      self.prev_slot[new] = np.arange(old.start, old.stop)
    self.resume(group, 0)

  def resume(self, group: int, offset: int) -> None:
    """Makes a group the youngest, to be written next at an offset."""
    self.newest, self.offset, self.open = group, offset, True
    slots = self.slots(group)
    # (W, chunk_size, ...) -> (chunk_size, W, ...)
    self._heads = [
      (key, array[slots].swapaxes(0, 1)) for key, array in self.arrays.items()
    ]
    # (rows,) -> (slots, chunk_size) -> (chunk_size, W)
    entries = self.has_entry.reshape(-1, self.chunk_size)
    self._entry_head = entries[slots].swapaxes(0, 1)

  def sync(self) -> None:
    """Brings lengths and starts up to the steps added since."""
    if self._synced:
      return
    self._synced = True
    head = self.slots(self.newest)
    self._steps += int((self.offset - self.lengths[head]).sum())
    self.lengths[head] = self.offset
    # Only windows that reach the open group can have become complete.
    groups = (self.newest - np.arange(self.hops + 1)) % self.num_groups
    # (hops + 1, 1) + (W,) -> (hops + 1, W)
    slots = groups[:, None] * self.num_envs + np.arange(self.num_envs)
    # -> ((hops + 1) W,)
    self._count_starts(slots.ravel())

  def reserve(self, slot: int) -> None:
    """Makes room for the steps of a slot.

    Raises:
      OSError: There is none.
    """
    if not self._reserved[slot]:
      self._storage.reserve(slot, slot + 1)
      self._reserved[slot] = True

  def relink(self, links: list[tuple[int, int]]) -> None:
    """Links (previous, next) slots and recounts steps and starts."""
    for before, after in links:
      # If two chunks continue the same one, the last given is linked.
      self.prev_slot[self.next_slot[before]] = -1
      self.next_slot[before] = after
      self.prev_slot[after] = before
    self._steps = int(self.lengths.sum())
    self._count_starts(np.arange(self.num_chunks))
    used = np.flatnonzero(self.lengths)
    self.newest = int(used.max(initial=-1)) // self.num_envs

  @property
  def layout(self) -> list[int]:
    """Sizes that the numbers of slots depend on."""
    return [self.num_envs, self.num_groups, self.chunk_size]

  def fits(self, index: Mapping[str, Any]) -> bool:
    """Tells whether the slots of a saved pool mean the same here.

    Another number of groups does, if the ring was not full and has room.
    """
    if not index['layout']:
      return False
    envs, groups, size = index['layout']
    if [envs, size] != [self.num_envs, self.chunk_size]:
      return False
    last = max((chunk[0] for chunk in index['chunks']), default=-1) // envs
    newest = index['newest']
    return groups == self.num_groups or last <= newest < self.num_groups

  def state(self) -> dict[str, Any]:
    """JSON-able state, without the chunks themselves."""
    return {
      'layout': self.layout,
      'newest': self.newest,
      'offset': self.offset,
      'open': self.open,
    }

  def restore(self, state: Mapping[str, Any]) -> bool:
    """Continues where a pool of the same layout was, after `relink`.

    Returns:
      Whether the workers' streams go on; else new ones begin.
    """
    self.newest = state['newest']
    heads = self.lengths[self.slots(self.newest)]
    continues = state['open'] and bool((heads == state['offset']).all())
    if continues:
      self.resume(state['newest'], state['offset'])
    return continues

  def around(self, rows: np.ndarray, before: int, after: int) -> np.ndarray:
    """Rows of the same stream next to given ones.

    Args:
      rows: (B,) rows held.
      before: Steps back.
      after: Steps forward.

    Returns:
      (B, L) rows in time order, -1 where none is held; L is before + 1 + after.
    """
    size = self.chunk_size
    back, forth = -(-before // size), (size - 1 + after) // size
    # Slots (B, H) of the chunks within reach; H is back + 1 + forth.
    chain = np.empty((len(rows), back + 1 + forth), np.int64)
    slot = rows // size
    chain[:, back] = slot
    for hop in range(back, 0, -1):
      # (slots + 1,) at (B,) -> (B,)
      chain[:, hop - 1] = self.prev_slot[chain[:, hop]]
    for hop in range(back, back + forth):
      # (slots + 1,) at (B,) -> (B,)
      chain[:, hop + 1] = self.next_slot[chain[:, hop]]
    # (B, 1) + (L,) -> (B, L)
    place = (rows - slot * size)[:, None] + np.arange(-before, after + 1)
    hop = place // size
    # (B, H) at (B, 1), (B, L) -> (B, L)
    slots = chain[np.arange(len(rows))[:, None], hop + back]
    offset = place - hop * size
    # (slots + 1,) at (B, L) -> (B, L)
    return np.where(offset < self.lengths[slots], slots * size + offset, -1)

  def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Copies the steps of rows (B, L), for every key."""
    # (rows, ...) at (B, L) -> (B, L, ...)
    return {key: flat.take(rows, axis=0) for key, flat in self.flat.items()}

  def chunk_ids(self, rows: np.ndarray) -> np.ndarray:
    """Ids of the chunks that rows are in, -1 for row -1."""
    # (slots + 1,) at the shape of the rows -> that shape
    return self.ids[rows // self.chunk_size]

  def is_start(self, rows: np.ndarray) -> np.ndarray:
    """Flags of the rows from which `length` steps are held."""
    slots = rows // self.chunk_size
    # (slots + 1,) at the shape of the rows -> that shape
    return rows - slots * self.chunk_size < self.starts[slots]

  def _forget(self, slots: slice) -> None:
    """Resets the columns of steps that are given up."""
    for function in self._recycling:
      function(slots)
    rows = slice(slots.start * self.chunk_size, slots.stop * self.chunk_size)
    for name, column in self.columns.items():
      column[rows] = self._initial[name]

  def _drop(self, slots: slice) -> None:
    self._forget(slots)
    after = self.next_slot[slots]
    self.prev_slot[after[after >= 0]] = -1
    self._steps -= int(self.lengths[slots].sum())
    self._sequences -= int(self.starts[slots].sum())
    for array in (self.next_slot, self.prev_slot, self.ids):
      array[slots] = -1
    self.lengths[slots] = self.starts[slots] = 0

  def _count_starts(self, slots: np.ndarray) -> None:
    # (slots + 1,) at (n,) -> (n,)
    held = self.lengths[slots]
    after = slots
    for _ in range(self.hops):
      # (slots + 1,) at (n,) -> (n,)
      after = self.next_slot[after]
      held = held + self.lengths[after]
    starts = np.clip(held - self.length + 1, 0, self.lengths[slots])
    self._sequences += int(starts.sum() - self.starts[slots].sum())
    self.starts[slots] = starts
