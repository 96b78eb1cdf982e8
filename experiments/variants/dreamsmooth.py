"""DreamSmooth: rewards are spread over the steps that follow them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Share
from dreamer_nnx.slots import REPLAY

OWED = 'dreamsmooth/owed'


@REPLAY.register('dreamsmooth')
class DreamSmooth:
  """Keeps smoothed rewards in another replay; the environments' stay.

    paid = (1 - smoothing) · (owed + reward),   owed' = owed + reward - paid

  which is the moving average of the rewards so far. The last step of an
  episode is paid all that is owed, so that sums of episodes are kept. An
  episode that breaks off without a last step loses it. All else is up to the
  other replay.

  Args:
    given: Passed on to `inner`; see `slots.REPLAY`.
    smoothing: α, the part of what is owed that the next step still owes.
    inner: The replay that keeps the steps.

  Raises:
    UserError: `inner` smooths as well.

  Source: Lee et al. 2024, arXiv 2311.01450.
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
    smoothing: Share = 0.9,
    inner: Choice = Choice(REPLAY, 'chunked'),
  ):
    self.inner = inner(
      spaces=spaces,
      num_envs=num_envs,
      batch_size=batch_size,
      batch_length=batch_length,
      directory=directory,
      seed=seed,
      process=process,
      processes=processes,
      steps=steps,
      scratch=scratch,
      context_needed=context_needed,
      signals=signals,
    )
    if isinstance(self.inner, DreamSmooth):
      raise UserError('must be another replay.', 'inner', inner.name)
    self.smoothing = smoothing
    self.owed = np.zeros(num_envs)

  def __getattr__(self, name: str) -> Any:
    # What is not defined here; nothing is before `inner` is there.
    if name == 'inner':
      raise AttributeError(name)
    return getattr(self.inner, name)

  def __len__(self) -> int:
    return len(self.inner)

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Appends one step (W, ...), with what is paid for its reward."""
    owed = np.where(steps['is_first'], 0, self.owed) + steps['reward']
    share = np.where(steps['is_last'], 1, 1 - self.smoothing)
    self.owed = owed - share * owed
    paid = (share * owed).astype(np.float32)
    self.inner.add({**steps, 'reward': paid})

  def save(self) -> dict:
    """Starts to save; the index has a further number for each worker."""
    return self.inner.save() | {OWED: self.owed.tolist()}

  def load(self, index: dict) -> None:
    """Replaces what is held; see `contracts.Replay`."""
    self.load_share([index], 0, 1)

  def load_share(
    self, indices: Sequence[dict], share: int, shares: int
  ) -> None:
    """Loads a share; what is owed is known to as many processes as saved."""
    same = len(indices) == shares
    owed = indices[share].get(OWED, ()) if same else ()
    fits = len(owed) == len(self.owed)
    self.owed = np.array(owed) if fits else np.zeros(len(self.owed))
    if shares == 1 and same:
      self.inner.load(indices[0])
    else:
      self.inner.load_share(indices, share, shares)
