"""Evaluation: episodes of a fixed policy, and statistics of their returns."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from dreamer_nnx import contracts
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.step import Learner


@dataclasses.dataclass(frozen=True)
class Returns:
  """Undiscounted returns of whole episodes, in order of finish.

  Args:
    lengths: Number of actions in each.
    cut: Number of further episodes that a fault ended; they do not count.
    problem: Why there are fewer episodes than were asked for, if so.
  """

  returns: tuple[float, ...]
  lengths: tuple[int, ...]
  cut: int = 0
  problem: str = ''

  @classmethod
  def joined(cls, parts: Iterable[Sequence]) -> 'Returns':
    """Joins the returns of several."""
    returns, lengths, cut, problems = zip(*parts, strict=True)
    chain = lambda lists: tuple(x for part in lists for x in part)
    problem = next(filter(None, problems), '')
    return cls(chain(returns), chain(lengths), sum(cut), problem)

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
    counts = {
      f'{prefix}/episodes': float(len(self.returns)),
      f'{prefix}/cut': float(self.cut),
    }
    if not self.returns:
      return counts
    statistics = {
      f'{prefix}/return': self.mean,
      f'{prefix}/stderr': self.stderr,
      f'{prefix}/min': min(self.returns),
      f'{prefix}/max': max(self.returns),
      f'{prefix}/length': float(np.mean(self.lengths)),
    }
    return statistics | counts

  def __str__(self) -> str:
    count = len(self.returns)
    text = 'no episode was complete'
    if count:
      text = (
        f'{self.mean:.2f} ± {self.stderr:.2f} over {count} episodes '
        f'(min {min(self.returns):.2f}, max {max(self.returns):.2f})'
      )
    if not self.cut:
      return text
    were = '1 episode was' if self.cut == 1 else f'{self.cut} episodes were'
    return f'{text}; {were} cut by faults and not counted'


class Tally:
  """Whole episodes of W environments, each of which has a share of them.

  An episode that a fault has cut does not count, and another one is played.

  Args:
    episodes: Number of episodes that are wanted.
    spare: Number of episodes that may be cut.
    max_steps: An environment whose episode takes more steps is given up; 0 for
      none.
  """

  def __init__(self, workers: int, episodes: int, spare: int, max_steps: int):
    self._missing = np.full(workers, episodes // workers)
    self._missing[: episodes % workers] += 1
    self._spare, self._max_steps = spare, max_steps
    self._total, self._length = np.zeros(workers), np.zeros(workers, int)
    self._returns: list[float] = []
    self._lengths: list[int] = []
    self._cut, self._problem = 0, ''

  @property
  def done(self) -> bool:
    return not self._missing.any()

  @property
  def count(self) -> int:
    return len(self._returns)

  def add(self, obs: Mapping[str, np.ndarray], cut: np.ndarray) -> None:
    """Takes a step (W,) of each environment."""
    first = obs['is_first']
    self._total = np.where(first, 0, self._total) + obs['reward']
    self._length = np.where(first, 0, self._length + 1)
    for worker in np.flatnonzero(obs['is_last'] & (self._missing > 0)):
      if cut[worker]:
        self._cut += 1
        continue
      self._returns.append(float(self._total[worker]))
      self._lengths.append(int(self._length[worker]))
      self._missing[worker] -= 1
    if self._cut > self._spare:
      self.give_up(f'{self._cut} episodes were cut by faults')
    running = (self._missing > 0) & ~obs['is_last']
    long = running & (self._length >= self._max_steps)
    if self._max_steps and long.any():
      self._missing[long] = 0
      self._problem = (
        f'an episode took more than {self._max_steps} steps '
        '(config.evaluate.max_steps)'
      )

  def give_up(self, problem: str) -> None:
    """Ends the evaluation with the episodes that there are."""
    self._missing[:] = 0
    self._problem = problem

  def result(self) -> Returns:
    returns, lengths = tuple(self._returns), tuple(self._lengths)
    return Returns(returns, lengths, self._cut, self._problem)


def evaluate(
  learner: Learner,
  state: State,
  envs: contracts.VectorEnv,
  *,
  episodes: int,
  mode: str,
  key: jax.Array,
  max_steps: int = 0,
  stop: Callable[[], bool] = lambda: False,
  progress: Callable[[int, int, int], None] = lambda *counts: None,
  watch: Callable[..., None] = lambda *step: None,
) -> Returns:
  """Plays whole episodes without learning.

  Each environment plays the same number of episodes (the last one more than
  others by at most one), so that short episodes are not counted more often.
  At most `max_restarts` of the environments, where they have it, more are
  played for those that faults have cut.

  Args:
    learner: Compiled policy.
    state: Its state; it is not consumed.
    envs: Environments of their own; they are reset.
    episodes: Number of episodes that are counted.
    mode: `sample`, or `mode` for greedy actions.
    key: Key of the policy's samples; each step folds its number in.
    max_steps: Longest episode to wait for, in steps; 0 for any.
    stop: Asked after every step whether to end early, with fewer episodes.
    progress: Called before every step with the episodes done, those wanted,
      and the steps so far of all environments together.
    watch: Called with every step (W, ...), and with the carry before it, the
      key and the number of the draw that the policy is then given.
  """
  acting, workers = learner.acting(state), envs.num_envs
  spare = getattr(envs, 'max_restarts', 0)
  uncut = np.zeros(workers, bool)
  tally = Tally(workers, episodes, spare, max_steps)
  obs, carry, count = envs.reset(), learner.initial(workers), 0
  while not tally.done and not stop():
    tally.add(obs, getattr(envs, 'cut', uncut))
    progress(tally.count, episodes, count * workers)
    inputs = {k: v for k, v in obs.items() if not k.startswith('log/')}
    watch(inputs, carry, key, count)
    if tally.done:
      break
    carry, action, _ = learner.policy(acting, carry, inputs, key, count, mode)
    try:
      obs = envs.step(jax.device_get(action))
    except EnvError as error:
      tally.give_up(str(error))
    count += 1
  return tally.result()


# Names of what evaluations rank checkpoints by.
METRICS = tuple(Returns((0.0,), (1,)).metrics('eval'))
