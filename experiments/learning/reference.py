"""Trains danijar/dreamerv3 at the settings of a task.

  python -m experiments.learning.reference CHECKOUT TASK SEED WORKDIR

It runs the reference's own agent, replay, driver, logger and training loop, all
in one process, on the environments of this package. Beside the settings of
`tasks` its own defaults hold. Reports are neither compiled nor made, and
nothing is saved after the start; a run that is stopped starts anew.
"""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import streams, workflow
from dreamer_nnx.streams import Stream
from experiments.benchmarks import reference
from experiments.learning import config as runs
from experiments.learning.events import FILE, Events
from experiments.learning.tasks import TASKS

NEVER = 1e9
SECONDS = 30
FLAGS = ('is_first', 'is_last', 'is_terminal')
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


def make_env(task: str, seed: int, index: int) -> Any:
  """Makes environment number `index` as the reference wants them."""
  import elements
  import embodied

  config = configs.bind_all(runs.get_config(task))
  seed = streams.seed(seed, Stream.MAKE, index)
  envs = workflow.make_vector_env(config['env'], 1, seed)
  space = functools.partial(reference.space, elements)
  observed = {k: space(v) for k, v in envs.obs_space.items()}
  observed |= {k: elements.Space(bool) for k in FLAGS}
  taken = {k: space(v) for k, v in envs.action_space.items()}

  class View(embodied.Env):
    """One environment of this package."""

    def __init__(self):
      self.begun = False

    @property
    def obs_space(self):
      return observed | {'reward': elements.Space(np.float32)}

    @property
    def act_space(self):
      return taken | {'reset': elements.Space(bool)}

    def step(self, action):
      # The agent forbids what it does not say, in this thread.
      with jax.transfer_guard('allow'):
        if self.begun:
          # One that was last resets itself, as the driver wants it to.
          obs = envs.step({k: np.asarray(action[k])[None] for k in taken})
        else:
          self.begun, obs = True, envs.reset()
      return {k: obs[k][0] for k in self.obs_space}

    def close(self):
      envs.close()

  return View()


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


def train(checkout: str, task: str, seed: int, workdir: str) -> None:
  """Trains to the end."""
  elements, presets = reference.load(checkout)
  import embodied
  from dreamerv3 import main

  config = configure(elements, presets, task, seed, workdir)
  Path(workdir).mkdir(parents=True)
  config.save(elements.Path(workdir) / 'config.yaml')
  make = lambda config, index: main.wrap_env(
    make_env(task, config.seed, index), config
  )
  main.make_env = make
  events = Events(Path(workdir) / FILE)
  events.start(0)

  class Marked(elements.Counter):
    """The counter of environment steps."""

    def increment(self, amount=1):
      super().increment(amount)
      events.reached(self.value)

  def make_logger():
    written = elements.logger.JSONLOutput(workdir, 'metrics.jsonl')
    return elements.Logger(Marked(), [written, functools.partial(log, events)])

  passed = ('batch_size', 'batch_length', 'report_length', 'consec_train')
  passed += ('consec_report', 'replay_context', 'logdir', 'replica', 'replicas')
  args = elements.Config(**config.run, **{k: config[k] for k in passed})
  embodied.run.train(
    functools.partial(main.make_agent, config),
    functools.partial(main.make_replay, config, 'replay'),
    functools.partial(make, config),
    functools.partial(main.make_stream, config),
    make_logger,
    args,
  )


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
