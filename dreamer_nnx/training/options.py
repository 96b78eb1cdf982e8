"""Options of a run: how long, how often, how much."""

import dataclasses
from typing import Annotated

from dreamer_nnx.schema import OneOf, Range


@dataclasses.dataclass(frozen=True)
class TrainOptions:
  """Options of training.

  Args:
    steps: Environment steps of all workers together, resets included; a
      `repeat` of the environment does not multiply them.
    offline: Updates before the first action, on a replay that has steps from
      the start: `dataset`, `mixture`, or one that was loaded.
    envs: W, environments stepped together, of all processes.
    batch_size: B, sequences of a batch, of all processes.
    batch_length: T, steps of each sequence that are trained on.
    train_ratio: Replayed steps trained on per environment step; 0 never trains.
    log_every: Environment steps, and offline updates, between writes of the
      metrics; 0 for never.
    report_every: Environment steps, and offline updates, between reports with
      open-loop videos; 0 for never.
    save_every: Environment steps, and offline updates, between checkpoints; 0
      for never. One is always written at the end.
    on_divergence: `stop` ends a run whose numbers are no longer finite;
      `rewind` goes back to the last checkpoint, with another seed.
    max_rewinds: Rewinds after which a run that diverges again ends.
    act_async: Acts at its own pace while updates are made in another thread,
      for what runs in real time. A run that is resumed is then not equal, bit
      by bit, to one that was not; and there can be one process only.
    max_owed: With `act_async`, updates that `train_ratio` may ask for before
      they are made; more are dropped, which is logged.
  """

  steps: Annotated[int, Range(1)] = 1_000_000
  offline: Annotated[int, Range(0)] = 0
  envs: Annotated[int, Range(1)] = 16
  batch_size: Annotated[int, Range(1)] = 16
  batch_length: Annotated[int, Range(1)] = 64
  train_ratio: Annotated[float, Range(0)] = 32.0
  log_every: Annotated[int, Range(0)] = 5_000
  report_every: Annotated[int, Range(0)] = 50_000
  save_every: Annotated[int, Range(0)] = 50_000
  on_divergence: Annotated[str, OneOf('stop', 'rewind')] = 'stop'
  max_rewinds: Annotated[int, Range(0)] = 3
  act_async: bool = False
  max_owed: Annotated[int, Range(1)] = 1_000


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
  """Options of evaluations.

  Args:
    episodes: Episodes of each evaluation, for each of its policies.
    envs: Environments stepped together.
    every: Environment steps, and offline updates, between evaluations; 0
      evaluates only at the end.
    sampled: Evaluates the sampled policy, too, beside the greedy one.
    stop_at: Mean return of a greedy evaluation at which training ends; infinite
      for none.
    max_steps: An evaluation does not wait for an episode that takes more
      steps; it then has fewer episodes, which is said. 0 waits for any.
  """

  episodes: Annotated[int, Range(1)] = 10
  envs: Annotated[int, Range(1)] = 4
  every: Annotated[int, Range(0)] = 0
  sampled: bool = True
  stop_at: float = float('inf')
  max_steps: Annotated[int, Range(0)] = 0
