"""Options of a run: how long, how often, how much."""

import dataclasses

from dreamer_nnx.errors import UserError

ON_DIVERGENCE = ('stop', 'rewind')


@dataclasses.dataclass(frozen=True)
class TrainOptions:
  """How to train.

  Args:
    steps: Environment steps of all workers together, resets included.
    envs: W, environments stepped together.
    batch_size, batch_length: B and T of a batch.
    train_ratio: Replayed steps trained on per environment step.
    log_every: Environment steps between writes of the metrics.
    report_every: Environment steps between reports with open-loop videos.
    save_every: Environment steps between checkpoints; one is always written
      at the end. 0 means never, for each of the clocks.
    on_divergence: `stop` ends a run whose numbers are no longer finite;
      `rewind` goes back to the last checkpoint, with another seed.
    max_rewinds: How often at most.
  """

  steps: int = 1_000_000
  envs: int = 16
  batch_size: int = 16
  batch_length: int = 64
  train_ratio: float = 32.0
  log_every: int = 5_000
  report_every: int = 50_000
  save_every: int = 50_000
  on_divergence: str = 'stop'
  max_rewinds: int = 3

  def __post_init__(self):
    for name in ('steps', 'envs', 'batch_size', 'batch_length'):
      if getattr(self, name) < 1:
        raise UserError(
          f'config.train.{name} = {getattr(self, name)}: must be at least 1.'
        )
    if self.train_ratio < 0:
      raise UserError(
        f'config.train.train_ratio = {self.train_ratio}: must not be negative.'
      )
    if self.max_rewinds < 0:
      raise UserError(
        f'config.train.max_rewinds = {self.max_rewinds}: must not be negative.'
      )
    if self.on_divergence not in ON_DIVERGENCE:
      raise UserError(
        f'config.train.on_divergence = {self.on_divergence!r}: must be '
        f'{" or ".join(map(repr, ON_DIVERGENCE))}.'
      )


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
  """How to evaluate.

  Args:
    episodes: Episodes per evaluation and mode.
    envs: Environments stepped together.
    every: Environment steps between evaluations; 0 evaluates only at the end.
    sampled: Evaluates the sampled policy, too, beside the greedy one.
    stop_at: Training ends once a greedy evaluation has this mean return.
  """

  episodes: int = 10
  envs: int = 4
  every: int = 0
  sampled: bool = True
  stop_at: float = float('inf')

  def __post_init__(self):
    for name in ('episodes', 'envs'):
      if getattr(self, name) < 1:
        raise UserError(
          f'config.evaluate.{name} = {getattr(self, name)}: must be at least 1.'
        )
