"""Trains danijar/dreamerv3 at the settings of a task.

  python -m experiments.learning.reference CHECKOUT TASK SEED WORKDIR

It runs the reference's own agent, replay, driver, logger and training loop, all
in one process, on the environments of this package. Beside the settings of
`tasks` its own defaults hold. Reports are neither compiled nor made, and
nothing is saved after the start; a run that is stopped starts anew.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import contracts, streams
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.streams import Stream
from experiments.benchmarks import reference
from experiments.learning import config as runs
from experiments.learning.events import FILE, Events
from experiments.learning.tasks import TASKS

NEVER = 1e9
SECONDS = 30
FLAGS = ('is_first', 'is_last', 'is_terminal')
# Of its config, what its training loop is handed beside `run`.
PASSED = ('batch_size', 'batch_length', 'report_length', 'consec_train')
PASSED += ('consec_report', 'replay_context', 'logdir', 'replica', 'replicas')
SETTINGS = {
  'jax.platform': 'cpu',
  'jax.compute_dtype': 'float32',
  'jax.prealloc': False,
  'report_length': 16,
  'run.log_every': SECONDS,
  'run.report_every': NEVER,
  'run.save_every': NEVER,
  'run.debug': True,
  'run.usage.nvsmi': False,
  'logger.outputs': ['jsonl'],
}


class View:
  """One environment of this package, as the reference steps its own.

  Args:
    elements: The module of its spaces.
  """

  def __init__(self, elements: ModuleType, envs: contracts.VectorEnv):
    space = functools.partial(reference.space, elements)
    self._envs, self._begun = envs, False
    flags = {k: elements.Space(bool) for k in FLAGS}
    self.obs_space = {k: space(v) for k, v in envs.obs_space.items()} | flags
    self.obs_space['reward'] = elements.Space(np.float32)
    self.act_space = {k: space(v) for k, v in envs.action_space.items()}
    self.act_space['reset'] = elements.Space(bool)

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    # The agent forbids transfers that it does not make, in this thread.
    with jax.transfer_guard('allow'):
      if self._begun:
        # After one that was last it resets itself, as the driver wants it to.
        names = self._envs.action_space
        obs = self._envs.step({k: np.asarray(action[k])[None] for k in names})
      else:
        self._begun, obs = True, self._envs.reset()
    return {k: obs[k][0] for k in self.obs_space}

  def close(self) -> None:
    self._envs.close()


def make_env(elements: ModuleType, task: str, seed: int, index: int) -> View:
  """Makes environment number `index`."""
  config = configs.bind_all(runs.get_config(task))
  seed = streams.seed(seed, Stream.MAKE, index)
  return View(elements, make_vector_env(config['env'], 1, seed))


def configure(
  elements: Any, presets: Mapping[str, Any], task: str, seed: int, workdir: str
) -> Any:
  """The reference's config of a run."""
  # Two options that it has and its file has not.
  unlisted = {'precompile': False, 'profiler': False}
  defaults = presets['defaults']
  config = elements.Config(defaults | {'jax': defaults['jax'] | unlisted})
  config = config.update({'logdir': workdir, 'seed': seed} | SETTINGS)
  return config.update(TASKS[task].named(1))


def train(
  checkout: str,
  task: str,
  seed: int,
  workdir: str,
  make_agent: Callable[[], Any] | None = None,
  steps: int = 0,
) -> tuple[Any, Any]:
  """Trains to the end.

  Args:
    make_agent: Makes another agent than the reference's own.
    steps: Where the end is; 0 for that of the task.

  Returns:
    The agent and its replay.
  """
  elements, presets = reference.load(checkout)
  import embodied
  from dreamerv3 import main

  config = configure(elements, presets, task, seed, workdir)
  config = config.update({'run.steps': steps or config.run.steps})
  Path(workdir).mkdir(parents=True)
  config.save(elements.Path(workdir) / 'config.yaml')
  main.make_env = lambda config, index: main.wrap_env(
    make_env(elements, task, seed, index), config
  )
  args = elements.Config(**config.run, **{k: config[k] for k in PASSED})
  agent = make_agent() if make_agent else main.make_agent(config)
  replay = main.make_replay(config, 'replay')
  embodied.run.train(
    lambda: agent,
    lambda: replay,
    functools.partial(main.make_env, config),
    functools.partial(main.make_stream, config),
    functools.partial(make_logger, elements, Path(workdir)),
    args,
  )
  return agent, replay


def make_logger(elements: ModuleType, workdir: Path) -> Any:
  """Makes the logger, whose counter marks the clock."""
  events = Events(workdir / FILE)
  events.start(0)

  class Marked(elements.Counter):
    """The counter of environment steps."""

    def increment(self, amount=1):
      super().increment(amount)
      events.reached(self.value)

  written = elements.logger.JSONLOutput(workdir, 'metrics.jsonl')
  return elements.Logger(Marked(), [written, functools.partial(log, events)])


def log(events: Events, summaries) -> None:
  """Writes the episodes among what the reference logs."""
  found = {}
  for step, name, value in summaries:
    kind = name.removeprefix('episode/')
    if kind == 'score':
      found = {'step': step, 'result': float(value)}
    elif kind == 'length' and found:
      # Its length counts observations, which are one more than actions.
      events.ended(**found, length=int(value) - 1)
      found = {}


if __name__ == '__main__':
  folder, name, number, place = sys.argv[1:]
  train(folder, name, int(number), place)
