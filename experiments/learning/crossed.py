"""Trains the learner of this package in the reference's loop and replay.

  python -m experiments.learning.crossed CHECKOUT TASK SEED WORKDIR

All is as in `reference`, but for the agent. So where this package and the
reference end differently, it tells whether that is of the agent and its
updates, or of the loop, the clocks and the replay.
"""

import functools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import streams, workflow
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.streams import Stream
from dreamer_nnx.training.pure import split_signals
from dreamer_nnx.training.step import Learner
from experiments.learning import config as runs
from experiments.learning import reference

# Steps of a window before those that are trained on.
CONTEXT = 1
Arrays = dict[str, np.ndarray]


def make_learner(task: str) -> Learner:
  """Makes the learner of this package for a task."""
  config = runs.get_config(task)
  envs = make_vector_env(configs.bind_all(config)['env'], 1, 0)
  spaces = envs.obs_space, envs.action_space
  envs.close()
  return workflow.make_learner(config, *spaces)


class Crossed:
  """Presents the learner of this package as an agent of the reference.

  Args:
    task: Of `tasks.TASKS`.
  """

  def __init__(self, task: str, seed: int):
    self._learner = make_learner(task)
    self._state = self._learner.init(seed)
    self._key, self._acted = streams.key(seed, Stream.ACT, 0), 0
    # Names of the steps of the last update, and what it computed for them.
    self._pending: tuple[np.ndarray, Mapping[str, Any]] | None = None

  def init_policy(self, batch_size: int) -> Any:
    return self._learner.initial(batch_size)

  def init_train(self, batch_size: int) -> Any:
    return self._learner.initial_rows(batch_size)

  init_report = init_train

  def stream(self, batches: Iterable) -> Iterable:
    return batches

  def policy(self, carry: Any, obs: Arrays, mode: str) -> tuple:
    """Acts with the newest parameters."""
    del mode
    acting = self._learner.acting(self._state)
    carry, action, kept = self._learner.policy(
      acting, carry, obs, self._key, self._acted
    )
    self._acted += 1
    return carry, _writable(action), _writable(kept)

  def train(self, carry: Any, data: Arrays) -> tuple:
    """Makes an update; tells the replay of the one before."""
    steps, rows = data.pop('stepid'), len(data['is_first'])
    del data['consec']
    data[CONSEC] = np.zeros(rows, np.int32)
    self._state, carry, back, metrics = self._learner.train_step(
      self._state, carry, data
    )
    told = {}
    if self._pending:
      names, found = self._pending
      _, entries = split_signals(_writable(found))
      told['replay'] = {'stepid': names, **entries}
    self._pending = steps[:, CONTEXT:], back
    return carry, told, _writable(metrics)

  def save(self) -> dict:
    """Returns nothing: these runs are not gone on with."""
    return {}

  def load(self, data: dict) -> None:
    del data


def _writable(arrays: Mapping[str, Any]) -> Arrays:
  return {k: np.array(x) for k, x in jax.device_get(dict(arrays)).items()}


if __name__ == '__main__':
  folder, name, number, place = sys.argv[1:]
  make_agent = functools.partial(Crossed, name, int(number))
  reference.train(folder, name, int(number), place, make_agent)
