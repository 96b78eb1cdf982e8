"""Taking up checkpoints: the config, the counters and the replay of a run."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx import compat, contracts, paths, workflow
from dreamer_nnx import config as configs
from dreamer_nnx.replay.generators import reseeded
from dreamer_nnx.replay.index import IndexFormError
from dreamer_nnx.training import checkpoint, processes, resuming
from dreamer_nnx.training.changes import Changes
from dreamer_nnx.training.clocks import Ratio, State
from dreamer_nnx.training.loop import Trainer


def resume(
  trainer: Trainer,
  saved: checkpoint.Restored,
  workdir: paths.Path,
  rewinds: int,
  config: configs.Bound,
  changes: Changes,
) -> None:
  """Brings a new trainer and its replay to where a checkpoint was saved.

  Args:
    workdir: Folder of the run, for messages.
    rewinds: How often the run went back so far; if that is not what the
      checkpoint says, the replay draws by the seed of the config.
    changes: Fields that differ, named where the replay does not fit.

  Raises:
    CheckpointError: It holds what no run saves.
    UserError: As `load` of the replay.
  """
  states = saved.meta['processes']
  indices = [state.get('replay') for state in states]
  if saved.meta['counters'].get('rewinds', 0) != rewinds:
    # Not the draws, nor the games, that have led to divergence.
    seed = workflow.replay_seed(config)
    indices = [reseeded(x, seed) for x in indices]
    states = [state | {'envs': None} for state in states]
  index, count = processes.index(), processes.count()
  with _loading(saved.step, workdir, changes):
    if len(states) == count:
      trainer.replay.load(indices[index])
    else:
      trainer.replay.load_share(indices, index, count)
  with _taking_up(saved.step, workdir):
    counters = saved.meta['counters']
    resuming.resume(trainer, counters, states, saved.loop)
  trainer.callbacks.restore(saved.meta.get('callbacks', {}))


def check_replay(
  replay: contracts.Replay,
  meta: Mapping[str, Any],
  step: int,
  workdir: paths.Path,
  changes: Changes,
) -> None:
  """Checks that a replay can take up what a checkpoint has of all processes.

  Nothing is loaded; a replay that cannot tell so is not asked.

  Raises:
    CheckpointError, UserError: As `resume`.
  """
  check = getattr(replay, 'check', lambda index: None)
  with _loading(step, workdir, changes):
    for state in meta['processes']:
      check(state.get('replay'))


def updates_clock(
  meta: Mapping[str, Any], step: int, workdir: paths.Path
) -> State | None:
  """State of the clock that counts updates; None if it has not begun.

  Raises:
    CheckpointError: It is none.
  """
  with _taking_up(step, workdir):
    state = meta['counters']['clocks'].get('should_train')
    if state is None or state['previous'] is None:
      return None
    Ratio(0).restore(state)
    return state


@contextlib.contextmanager
def _loading(
  step: int, workdir: paths.Path, changes: Changes
) -> Iterator[None]:
  """Says of which checkpoint an index is that no replay has saved."""
  try:
    with changes.named():
      yield
  except IndexFormError as error:
    raise _unfit(step, workdir, str(error)) from error


@contextlib.contextmanager
def _taking_up(step: int, workdir: paths.Path) -> Iterator[None]:
  """Says of which checkpoint JSON is that has another form."""
  try:
    yield
  except (AttributeError, LookupError, TypeError, ValueError) as error:
    what = f'meta cannot be taken up ({type(error).__name__}: {error}).'
    raise _unfit(step, workdir, what) from error


def _unfit(
  step: int, workdir: paths.Path, what: str
) -> checkpoint.CheckpointError:
  return checkpoint.CheckpointError(
    f'checkpoint step {step} in {workdir}: {what}'
  )


def compared(meta: Mapping[str, Any], step: int, config: ConfigDict) -> Changes:
  """Compares a resolved config with that of a checkpoint."""
  saved = compat.config(meta.get('config', {}))
  return Changes(step, saved, configs.leaves(config), meta.get('spaces'))


def env_steps(meta: Mapping[str, Any], step: int) -> int:
  """Environment steps up to a checkpoint, which may have a larger number.

  Args:
    step: The number.
  """
  return meta.get('counters', {}).get('env_steps', step)


def elapsed(meta: Mapping[str, Any]) -> float:
  """Seconds that a run took up to a checkpoint; 0 where it does not say."""
  seconds = meta.get('elapsed')
  good = isinstance(seconds, float) and 0 <= seconds < 1e12
  return seconds if good else 0.0


def saved_config(
  workdir: paths.Path,
  step: int | None = None,
  *,
  trust_config: bool = False,
  named: Mapping[str, Any] | None = None,
) -> ConfigDict:
  """The config of a run, from its checkpoint alone.

  Args:
    trust_config, named: As `config.from_json` takes them.

  Raises:
    UntrustedError: It names code that is not of this package, and is not
      trusted; nothing of it was imported.
    ConfigError, CheckpointError: There is no such config.
  """
  meta = checkpoint.load_meta(workdir, step)
  text = json.dumps(compat.config(meta['config']))
  return configs.from_json(text, trust_config=trust_config, named=named)
