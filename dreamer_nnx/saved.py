"""Taking up checkpoints: the config, the counters and the replay of a run."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx import compat, paths, workflow
from dreamer_nnx import config as configs
from dreamer_nnx.replay.generators import reseeded
from dreamer_nnx.replay.index import IndexFormError
from dreamer_nnx.training import checkpoint, processes, resuming
from dreamer_nnx.training.changes import Changes
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
  try:
    with changes.named():
      if len(states) == count:
        trainer.replay.load(indices[index])
      else:
        trainer.replay.load_share(indices, index, count)
  except IndexFormError as error:
    raise _unfit(saved, workdir, str(error)) from error
  try:
    counters = saved.meta['counters']
    resuming.resume(trainer, counters, states, saved.loop)
  # Errors that JSON of another form leads to.
  except (AttributeError, LookupError, TypeError, ValueError) as error:
    what = f'meta cannot be taken up ({type(error).__name__}: {error}).'
    raise _unfit(saved, workdir, what) from error
  trainer.callbacks.restore(saved.meta.get('callbacks', {}))


def _unfit(
  saved: checkpoint.Restored, workdir: paths.Path, what: str
) -> checkpoint.CheckpointError:
  return checkpoint.CheckpointError(
    f'checkpoint step {saved.step} in {workdir}: {what}'
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
