"""Taking up the counters, carries and running episodes of a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dreamer_nnx.training import processes
from dreamer_nnx.training.actor import Actor, named, unnamed
from dreamer_nnx.training.frames import Frames
from dreamer_nnx.training.loop import CLOCKS, Trainer
from dreamer_nnx.training.sharding import put_global


def resume(
  trainer: Trainer,
  counters: Mapping[str, Any],
  local_states: Sequence[Mapping[str, Any]],
  arrays: Mapping[str, np.ndarray],
) -> None:
  """Brings a new trainer to where another one was saved.

  Environments that have a state go on where they were. The others, and any
  other number of them or of processes, begin new episodes.

  Args:
    counters, arrays: Of `Trainer.counters` and `Trainer.arrays`.
    local_states: Every process's `Trainer.local_state`.
  """
  for name in ('env_steps', 'updates', 'evaluated'):
    setattr(trainer, name, counters[name])
  trainer.offline_updates = counters.get('offline_updates', 0)
  trainer.frames = Frames.of(trainer.envs, trainer.env_steps, counters)
  if trainer.options.act_async:
    trainer.owed = counters.get('owed', 0)
  clocks = counters['clocks']
  for name in clocks.keys() & set(CLOCKS):
    getattr(trainer, name).restore(clocks[name])
  carry = {k: x for k, x in arrays.items() if k.startswith('train|')}
  like = {'train': trainer.carry}
  if fits(carry, named(like)):
    where = trainer.learner.sharding.batch
    # Another precision computes with another format.
    trainer.carry = jax.tree.map(
      lambda x, like: put_global(x.astype(like.dtype), where),
      unnamed(carry, like),
      like,
    )['train']
  episodes = {k: x for k, x in arrays.items() if k not in carry}
  if len(local_states) != processes.count() or not episodes:
    return
  local = local_states[processes.index()]
  rows = {k: x[processes.index()] for k, x in episodes.items()}
  if local['envs'] is not None and fits(rows, _arrays_like(trainer)):
    trainer.envs.restore(local['envs'])
    trainer.episodes.restore(local['episodes'])
    trainer.actor.resume(rows)


def _arrays_like(trainer: Trainer) -> dict[str, np.ndarray]:
  """Arrays of the shapes that running episodes have here."""
  first = Actor(trainer.envs, trainer.learner, trainer.seed)
  first.start()
  return first.arrays()


def fits(arrays: Mapping, like: Mapping) -> bool:
  """Tells whether names and shapes are the same."""
  shapes = lambda tree: {name: np.shape(x) for name, x in tree.items()}
  return shapes(arrays) == shapes(like)
