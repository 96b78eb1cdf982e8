"""Events within the steps of a run: updates, and what has an interval."""

import dataclasses
import math
from collections.abc import Iterator

from dreamer_nnx import config as configs
from dreamer_nnx.preflight.table import ERROR, WARNING, Row
from dreamer_nnx.training.clocks import Every, Ratio, State
from dreamer_nnx.training.options import TrainOptions


@dataclasses.dataclass(frozen=True)
class Done:
  """Counters of a run at the checkpoint that it goes on from.

  Args:
    env_steps: Environment steps.
    number: Number of the checkpoint: with offline updates; 0 for a new run.
    updates: Updates.
    clock: State of the clock that counts them; None if it has not begun.
    owed: Updates that it has asked for, and that are still to be made.
  """

  env_steps: int = 0
  number: int = 0
  updates: int = 0
  clock: State | None = None
  owed: int = 0

  def offline_left(self, train: TrainOptions) -> int:
    """Counts the offline updates that are still to be made."""
    return max(0, train.offline - (self.number - self.env_steps))

  def last(self, train: TrainOptions) -> int:
    """Environment steps at the end: all environments step together."""
    # Updates that are owed behind the last step are made with one step more.
    left = max(min(1, self.owed), train.steps - self.env_steps, 0)
    return self.env_steps + math.ceil(left / train.envs) * train.envs


NOTHING = Done()


def rows(
  parts: configs.Bound, begin: int | None, done: Done = NOTHING
) -> Iterator[Row]:
  """Rows for the updates, and for intervals that never come to an end.

  Args:
    begin: Environment steps before there is enough to train on; None if there
      is no replay to say it.
  """
  train = parts['train']()
  if done.env_steps >= train.steps and not done.owed:
    yield Row(
      'updates',
      f'The checkpoint is of step {done.env_steps:,}: none of the '
      f'{train.steps:,} steps is left.',
      WARNING,
      'Raise config.train.steps to go on.',
    )
    return
  if begin is not None:
    yield _updates(train, begin, done)
  yield from _intervals(parts, done)


def first_update(train: TrainOptions, begin: int, done: Done = NOTHING) -> int:
  """Environment steps after which the first update is made, or the next."""
  steps = max(1, math.ceil((begin - done.env_steps) / train.envs))
  return done.env_steps + steps * train.envs


def count_updates(train: TrainOptions, begin: int, done: Done = NOTHING) -> int:
  """Updates of a whole run, or those that are left, but for offline ones."""
  first, last = first_update(train, begin, done), done.last(train)
  if first > last:
    return done.owed
  ratio = Ratio(train.train_ratio / (train.batch_size * train.batch_length))
  if done.clock:
    ratio.restore(done.clock)
  return done.owed + ratio(first) + ratio(last)


def _updates(train: TrainOptions, begin: int, done: Done) -> Row:
  count = count_updates(train, begin, done)
  first = first_update(train, begin, done)
  offline = done.offline_left(train)
  text = f'{offline:,} offline, and {count:,}' if offline else f'{count:,}'
  if done.number:
    text = f'{done.updates:,} are made; left are {text} up to step'
    text = f'{text} {train.steps:,}'
  else:
    text = f'{text} within {train.steps:,} steps'
  if count and not done.updates:
    return Row('updates', f'{text}; the first after {first:,} steps')
  if count or offline:
    return Row('updates', text)
  if not train.train_ratio:
    return Row(
      'updates',
      f'{text}, for config.train.train_ratio = {train.train_ratio}.',
      WARNING,
      'Raise it, unless nothing is to be learnt.',
    )
  return Row('updates', text) if done.updates else _nothing(train, first)


def _nothing(train: TrainOptions, first: int) -> Row:
  return Row(
    'updates',
    f'config.train.steps = {train.steps}: nothing is learnt, for there is '
    f'enough to train on after {first:,} steps.',
    ERROR,
    f'Raise it to more than {first}, or lower config.train.batch_size or '
    'batch_length.',
  )


def _intervals(parts: configs.Bound, done: Done) -> Iterator[Row]:
  train, evaluate = parts['train'](), parts['evaluate']()
  fields = {
    f'config.train.{name}': getattr(train, name)
    for name in ('log_every', 'report_every', 'save_every')
  } | {'config.evaluate.every': evaluate.every}
  begin, end = _span(train, done)
  for path, interval in fields.items():
    every = Every(interval)
    every(begin)
    if interval and not every(end):
      yield _endless(path, interval, begin, end)
  if math.isfinite(evaluate.stop_at) and not evaluate.every:
    yield Row(
      'intervals',
      f'config.evaluate.stop_at = {evaluate.stop_at}: is never looked at, for '
      'config.evaluate.every is 0.',
      WARNING,
      'Set config.evaluate.every.',
    )


def _span(train: TrainOptions, done: Done) -> tuple[int, int]:
  """The numbers at which the clocks of a run are first asked, and last.

  The first only sets their origin, unless the run goes on from a checkpoint:
  they have been asked there.
  """
  offline = done.offline_left(train)
  end = done.number + offline + done.last(train) - done.env_steps
  # Whoever trains in another thread asks before the first step, too.
  first = min(1, offline) or (0 if train.act_async else train.envs)
  return done.number or first, end


def _endless(path: str, interval: int, begin: int, end: int) -> Row:
  steps = end - begin
  but = ''
  if path == 'config.train.save_every':
    but = ' The only checkpoint is that of the end.'
  most = f'{steps} or less, or to ' if steps else ''
  return Row(
    'intervals',
    f'{path} = {interval}: is longer than the {steps:,} steps of the run that '
    f'are counted, from {begin:,} to {end:,}, so it never comes to an end.'
    f'{but}',
    WARNING,
    f'Set it to {most}0 for never.',
  )
