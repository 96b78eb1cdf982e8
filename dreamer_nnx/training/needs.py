"""Files of the stored replay that kept checkpoints need; others are deleted."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamer_nnx import contracts, paths
from dreamer_nnx.training import checkpoint, processes
from dreamer_nnx.training import checkpoint_fit as fit
from dreamer_nnx.training.checkpoint import CheckpointError, Checkpoints


class Needs:
  """Names of files, for each checkpoint, of all processes.

  Of a checkpoint that cannot be read nobody knows what it needs: while it is
  there, all that was stored when the run began stays.
  """

  def __init__(
    self,
    workdir: paths.Path,
    checkpoints: Checkpoints,
    replay: contracts.Replay,
  ):
    self._checkpoints = checkpoints
    self._replay = replay
    look = lambda: [self._read(workdir, step) for step in checkpoints.steps()]
    found = processes.in_first(look, CheckpointError)
    self._files = {step: frozenset(names) for step, names in found}

  def note(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
    """Notes what a checkpoint about to be saved needs."""
    self._files[step] = frozenset(self._all(states))

  def release(self) -> None:
    """Lets the replay delete what no checkpoint needs; when none is saving."""
    kept = set(self._checkpoints.steps())
    self._files = {k: v for k, v in self._files.items() if k in kept}
    self._replay.retain(frozenset().union(*self._files.values()))

  def _read(self, workdir: paths.Path, step: int) -> tuple[int, list[str]]:
    try:
      meta, _ = fit.upgraded(checkpoint.load_meta(workdir, step), {})
      return step, sorted(self._all(meta['processes']))
    except (CheckpointError, KeyError, TypeError, ValueError):
      return step, sorted(self._replay.files(None))

  def _all(self, states: Sequence[Mapping[str, Any]]) -> set[str]:
    return set().union(
      *(self._replay.files(state['replay']) for state in states)
    )
