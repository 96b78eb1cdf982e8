"""Events within the steps of a run: updates, and what has an interval."""

import math
from collections.abc import Iterator

from dreamer_nnx import config as configs
from dreamer_nnx.preflight.table import ERROR, WARNING, Row
from dreamer_nnx.training.clocks import Every, Ratio
from dreamer_nnx.training.options import TrainOptions


def rows(
  parts: configs.Bound, begin: int | None, start: int, number: int
) -> Iterator[Row]:
  """Rows for the updates, and for intervals that never come to an end.

  Args:
    begin: Environment steps before there is enough to train on; None if there
      is no replay to say it.
    start: Environment steps that the run goes on from.
    number: Of the checkpoint that it goes on from, which has its offline
      updates, too.
  """
  train = parts['train']()
  if start >= train.steps:
    yield Row(
      'updates',
      f'The checkpoint is of step {start:,}: none of the {train.steps:,} steps '
      'is left.',
      WARNING,
      'Raise config.train.steps to go on.',
    )
    return
  if begin is not None:
    yield _updates(train, begin)
  yield from _intervals(parts, number)


def first_update(train: TrainOptions, begin: int) -> int:
  """Environment steps after which the first update is made."""
  return max(1, math.ceil(begin / train.envs)) * train.envs


def count_updates(train: TrainOptions, begin: int) -> int:
  """Updates of a whole run, without those that are offline."""
  first = first_update(train, begin)
  last = math.ceil(train.steps / train.envs) * train.envs
  if first > last:
    return 0
  ratio = Ratio(train.train_ratio / (train.batch_size * train.batch_length))
  return ratio(first) + ratio(last)


def _updates(train: TrainOptions, begin: int) -> Row:
  count, first = count_updates(train, begin), first_update(train, begin)
  offline = f'{train.offline:,} offline, and ' if train.offline else ''
  text = f'{offline}{count:,} within {train.steps:,} steps'
  if count:
    return Row('updates', f'{text}; the first after {first:,} steps')
  if train.offline:
    return Row('updates', text)
  if not train.train_ratio:
    return Row(
      'updates',
      f'{text}, for config.train.train_ratio = {train.train_ratio}.',
      WARNING,
      'Raise it, unless nothing is to be learnt.',
    )
  return Row(
    'updates',
    f'config.train.steps = {train.steps}: nothing is learnt, for there is '
    f'enough to train on after {first:,} steps.',
    ERROR,
    f'Raise it to more than {first}, or lower config.train.batch_size or '
    'batch_length.',
  )


def _intervals(parts: configs.Bound, start: int) -> Iterator[Row]:
  train, evaluate = parts['train'](), parts['evaluate']()
  fields = {
    f'config.train.{name}': getattr(train, name)
    for name in ('log_every', 'report_every', 'save_every')
  } | {'config.evaluate.every': evaluate.every}
  end = train.steps + train.offline
  for path, interval in fields.items():
    every = Every(interval)
    every(start)
    if interval and not every(end):
      yield Row(
        'intervals',
        f'{path} = {interval}: is longer than the {end - start:,} steps of the '
        f'run, so it never comes to an end.{_but(path)}',
        WARNING,
        f'Set it to {end - start} or less, or to 0 for never.',
      )
  if math.isfinite(evaluate.stop_at) and not evaluate.every:
    yield Row(
      'intervals',
      f'config.evaluate.stop_at = {evaluate.stop_at}: is never looked at, for '
      'config.evaluate.every is 0.',
      WARNING,
      'Set config.evaluate.every.',
    )


def _but(path: str) -> str:
  if path == 'config.train.save_every':
    return ' The only checkpoint is that of the end.'
  return ''
