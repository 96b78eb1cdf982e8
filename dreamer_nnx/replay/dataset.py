"""Replay of fixed data: of another run, of .npz episodes, of Minari."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dreamer_nnx.contracts import CONSEC, Footprint
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import generators, minari, sources
from dreamer_nnx.replay.fixed import FixedSteps
from dreamer_nnx.replay.index import IndexFormError, check_generator
from dreamer_nnx.slots import REPLAY


@REPLAY.register('dataset')
class DatasetReplay:
  """Windows of fixed steps, drawn uniformly; nothing is added or saved.

  `path` is one of

    a folder `replay` of a workdir   what that run's replay has stored
    an .npz file, or a folder of     episodes, each key of a step as (T, ...):
    them                             observations, actions, `reward`,
                                     `is_first`, `is_last`, `is_terminal`
    minari:NAME                      a data set of the package minari

  The steps have no entries, and those that are written back are dropped: every
  window begins from nothing, which `CONSEC` -1 says. Each process holds all.

  Args:
    path: Where the steps are: a folder, an .npz file, or minari:NAME.

  Raises:
    UserError: They cannot be read, or do not fit the agent.
  """

  ready = True

  def __init__(
    self,
    spaces: Mapping[str, Any],
    batch_size: int,
    batch_length: int,
    seed: int,
    context_needed: int,
    *,
    path: str = '',
  ):
    self.context = context_needed
    self._batch_size, self._samples, self._saves = batch_size, 0, 0
    self._seed, self._rng = seed, np.random.Generator(np.random.PCG64(seed))
    length = context_needed + batch_length
    entries = {k: x for k, x in spaces.items() if k.startswith('latent/')}
    # What the agent of another run has added, if any.
    optional = [key for key in spaces if key.startswith('acting/')]
    kept = {k: x for k, x in spaces.items() if k not in entries}
    try:
      self._steps = FixedSteps(kept, _source(path), optional, length)
    except UserError as error:
      if error.path == 'path' and not error.got:
        error.got = f' = {path!r}'
      raise
    self._constant = {
      key: np.zeros((batch_size, length, *x.shape), x.dtype)
      for key, x in entries.items()
    } | {CONSEC: np.full(batch_size, -1, np.int32)}
    self.notes = self._notes(path)
    self.footprint = Footprint(len(self), memory=self._steps.nbytes)

  def __len__(self) -> int:
    return len(self._steps)

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Does nothing: the data are fixed."""

  def sample(self) -> tuple[dict[str, np.ndarray], None]:
    """Draws a batch; see `contracts.Replay`."""
    self._samples += self._batch_size
    return self._steps.draw(self._rng, self._batch_size) | self._constant, None

  def update(
    self,
    handle: None,
    entries: Mapping[str, np.ndarray],
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Does nothing: the data are fixed."""

  def save(self) -> dict:
    self._saves += 1
    return {
      'fixed': len(self),
      'rng': generators.to_json(self._rng),
      'saves': self._saves,
      'samples': self._samples,
    }

  def wait(self) -> None:
    """Does nothing: nothing is stored."""

  def files(self, index: dict | None) -> Collection[str]:
    return ()

  def retain(self, files: Collection[str]) -> None:
    """Does nothing: nothing is stored."""

  def load(self, index: dict) -> None:
    """Goes on with the draws of an index; the data are those of `path`."""
    self.load_share([index], 0, 1)

  def load_share(
    self, indices: Sequence[dict], share: int, shares: int
  ) -> None:
    for index in indices:
      _check(index)
    self._saves = max(index['saves'] for index in indices)
    if len(indices) == shares:
      index = indices[share]
      self._samples = index['samples']
      self._rng.bit_generator.state = generators.from_json(index['rng'])
    else:
      self._rng = generators.derived(self._seed, self._saves)

  def check(self, index: dict) -> None:
    """Raises what `load` would."""
    _check(index)

  def stats(self) -> dict[str, float]:
    samples, self._samples = self._samples, 0
    return {
      'steps': float(len(self)),
      'sequences': float(self._steps.starts),
      'size_gib': self._steps.nbytes / 2**30,
      'samples': float(samples),
    }

  def _notes(self, path: str) -> list[str]:
    steps = self._steps
    notes = [
      f'Data: {len(steps)} steps, {steps.episodes} episodes of {path}; they '
      'stay as they are, and no steps of the environments are added to them.'
    ]
    if steps.missing:
      names = ', '.join(sorted(steps.missing))
      notes.append(f'The data have no {names}; these are zeros.')
    return notes


def _source(path: str) -> sources.Source:
  if not path:
    raise UserError(
      'is empty. Name the folder `replay` of a workdir, .npz files of episodes '
      'or minari:NAME.',
      'path',
    )
  if path.startswith(minari.SCHEME):
    return minari.find(path.removeprefix(minari.SCHEME))
  return sources.find(path)


def _check(index: Any) -> None:
  """Refuses an index that `save` has not made."""
  if not isinstance(index, Mapping):
    raise IndexFormError('replay index: no replay of data saves this.')
  check_generator(index.get('rng'))
  for key in ('saves', 'samples'):
    value = index.get(key)
    if type(value) is not int or not 0 <= value < 2**32:
      raise IndexFormError(f'replay index: {key} = {str(value)[:40]!r}.')
