"""The folders of a run: its workdir, what it goes on from, and free disk."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx import paths
from dreamer_nnx.contracts import Footprint
from dreamer_nnx.preflight.request import Request
from dreamer_nnx.preflight.schedule import NOTHING, Done
from dreamer_nnx.preflight.table import ERROR, OK, Row, amount
from dreamer_nnx.saved import compared, env_steps, updates_clock
from dreamer_nnx.training import checkpoint, retention, start, workdir
from dreamer_nnx.training import checkpoint_fit as fit
from dreamer_nnx.training.changes import Changes

REMEDY = (
  'Free some, choose another --workdir (or --scratch), or lower '
  'config.replay.chunked.capacity, config.checkpoint.keep_last or what '
  'config.checkpoint.keep_every keeps.'
)


@dataclasses.dataclass(frozen=True)
class Begun:
  """Beginning of a run.

  Args:
    root: The checkpoint that it goes on from; None for a new run.
    changes: Differences of the config from that checkpoint's.
    meta: What else it says of the run.
    done: What the run has done so far.
  """

  root: paths.Path | None = None
  changes: Changes = dataclasses.field(default_factory=Changes)
  meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  done: Done = NOTHING


def enter(request: Request, stack: contextlib.ExitStack) -> int | None:
  """Takes the lock of the workdir, as the run will, until the stack is closed.

  Whatever is made in it is removed then.

  Returns:
    The step that the run goes on from; None for a new one.

  Raises:
    UserError: The workdir is not one that this run can have.
  """
  workdir.check(request.workdir)
  stack.enter_context(workdir.lock_workdir(request.workdir))
  asked = request.source.flags()
  return start.plan(request.workdir, asked, request.step, request.again).step


def begun(request: Request, step: int) -> Begun:
  """Reads the checkpoint that a run goes on from.

  Raises:
    UserError: It is damaged, or of a config that this one cannot follow.
  """
  root = request.workdir / checkpoint.FOLDER / str(step)
  meta, _ = fit.upgraded(checkpoint.load_meta(root), {})
  changes = compared(meta, step, configs.resolve(request.parts))
  changes.check()
  counters = meta['counters']
  done = Done(
    env_steps(meta, step),
    step,
    counters.get('updates', 0),
    updates_clock(meta, step, request.workdir),
    counters.get('owed', 0) if request.parts['train']().act_async else 0,
  )
  return Begun(root, changes, meta, done)


def disk(request: Request, state: int, replay: Footprint) -> Iterator[Row]:
  """A row for each folder: what it will have to hold, and what is free.

  Args:
    state: Bytes of a checkpoint.
    replay: Of the replay of one process.
  """
  local = request.workdir and not paths.in_bucket(request.workdir)
  saved, folder = 0, request.workdir
  if local:
    count = _most_kept(request.parts)
    saved = count * state + replay.saved * request.processes
    texts = [f'{count} checkpoints of {amount(state)}']
    if replay.saved:
      texts.append(f'the replay {amount(replay.saved * request.processes)}')
    free = paths.free_bytes(folder) + paths.stored_bytes(folder)
    shared = replay.mapped and paths.same_disk(folder, _scratch(replay))
    if shared:
      saved += replay.mapped
      texts.append(f'its files in use {amount(replay.mapped)}')
    yield _row(folder, saved, free, ', '.join(texts))
    if shared:
      return
  elif not request.workdir:
    yield Row('disk', 'No --workdir is named, so none was looked at.')
  if replay.mapped:
    scratch = _scratch(replay)
    text = f'the replay {amount(replay.mapped)}'
    yield _row(scratch, replay.mapped, paths.free_bytes(scratch), text)


def _row(folder: paths.Path, need: int, free: int, text: str) -> Row:
  fits = need <= free
  return Row(
    'disk',
    f'{folder} will need {amount(need)} ({text}); {amount(free)} are free.',
    OK if fits else ERROR,
    '' if fits else REMEDY,
  )


def _scratch(replay: Footprint) -> pathlib.Path:
  return pathlib.Path(replay.folder)


def _most_kept(parts: configs.Bound) -> int:
  train, options = parts['train'](), parts['checkpoint'].values()
  names = ('keep_last', 'keep_every', 'keep_best')
  return retention.most_kept(
    train.steps + train.offline, **{name: options[name] for name in names}
  )
