"""Evaluation: episodes of a fixed policy, and statistics of their returns."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from dreamer_nnx import contracts
from dreamer_nnx.training.step import Learner, State


@dataclasses.dataclass(frozen=True)
class Returns:
  """Undiscounted returns of whole episodes, in order of finish.

  Args:
    lengths: How many actions were taken in each.
  """

  returns: tuple[float, ...]
  lengths: tuple[int, ...]

  @classmethod
  def joined(cls, parts: Iterable[tuple[Sequence, Sequence]]) -> 'Returns':
    """Joins (returns, lengths) pairs."""
    returns, lengths = zip(*parts, strict=True)
    chain = lambda lists: tuple(x for part in lists for x in part)
    return cls(chain(returns), chain(lengths))

  @property
  def mean(self) -> float:
    return float(np.mean(self.returns))

  @property
  def stderr(self) -> float:
    """Standard error of the mean; 0 for a single episode."""
    if len(self.returns) < 2:
      return 0.0
    return float(np.std(self.returns, ddof=1) / len(self.returns) ** 0.5)

  def metrics(self, prefix: str) -> dict[str, float]:
    return {
      f'{prefix}/return': self.mean,
      f'{prefix}/stderr': self.stderr,
      f'{prefix}/min': min(self.returns),
      f'{prefix}/max': max(self.returns),
      f'{prefix}/length': float(np.mean(self.lengths)),
      f'{prefix}/episodes': float(len(self.returns)),
    }

  def __str__(self) -> str:
    return (
      f'{self.mean:.2f} ± {self.stderr:.2f} over {len(self.returns)} episodes '
      f'(min {min(self.returns):.2f}, max {max(self.returns):.2f})'
    )


def evaluate(
  learner: Learner,
  state: State,
  envs: contracts.VectorEnv,
  *,
  episodes: int,
  mode: str,
  key: jax.Array,
  stop: Callable[[], bool] = lambda: False,
  progress: Callable[[int, int, int], None] = lambda *counts: None,
) -> Returns:
  """Plays whole episodes without learning.

  Each environment plays the same number of episodes (the last one more than
  others by at most one), so that short episodes are not counted more often.

  Args:
    learner: Compiled policy.
    state: Its state; it is not consumed.
    envs: Environments of their own; they are reset.
    episodes: How many are counted.
    mode: `sample`, or `mode` for greedy actions.
    key: Of the policy's samples; each step folds its number in.
    stop: Asked after every step whether to end early, with fewer episodes.
    progress: Called before every step with the episodes done, those wanted,
      and the steps so far of all environments together.
  """
  acting = learner.acting(state)
  workers = envs.num_envs
  quota = np.full(workers, episodes // workers)
  quota[: episodes % workers] += 1
  obs, carry = envs.reset(), learner.initial(workers)
  total, length = np.zeros(workers), np.zeros(workers, int)
  returns, lengths, count = [], [], 0
  while quota.any() and not stop():
    total = np.where(obs['is_first'], 0, total) + obs['reward']
    length = np.where(obs['is_first'], 0, length + 1)
    for worker in np.flatnonzero(obs['is_last'] & (quota > 0)):
      returns.append(float(total[worker]))
      lengths.append(int(length[worker]))
      quota[worker] -= 1
    progress(len(returns), episodes, count * workers)
    inputs = {k: v for k, v in obs.items() if not k.startswith('log/')}
    carry, action, _ = learner.policy(acting, carry, inputs, key, count, mode)
    obs = envs.step(jax.device_get(action))
    count += 1
  return Returns(tuple(returns), tuple(lengths))


# Names of what evaluations rank checkpoints by.
METRICS = tuple(Returns((0.0,), (1,)).metrics('eval'))
