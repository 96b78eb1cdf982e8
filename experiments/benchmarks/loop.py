"""Times a whole training loop on the built-in environment, by its parts.

  python -m experiments.benchmarks.loop [--config.a=b ...]

An agent of size 1m on `track` at 64x64 pixels, batches of 16x64, 16
environments, two updates for each of their steps. Prints one JSON line with
milliseconds an update, over the last half of the run:

  environment   environments stepping, while the device computes; these ones
                are computed by the same device, and so wait for it
  acting        the policy, which waits for the updates before it
  sampling      batches drawn and put on the device
  dispatch      handing the update to the device, and waiting for a place
  waiting       for updates to end
  write_back    latents stored in replay
  other         all else
  total
  host          sampling + write_back, as a fraction of the total
"""

import collections
import json
import sys
import time
from collections.abc import Callable

import jax

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from dreamer_nnx.training.loop import Trainer

FIELDS = {
  'env.name': 'track',
  'env.track.size': 64,
  'train.steps': 2_240,
  'train.envs': 16,
  'train.train_ratio': 128.0,
  'train.log_every': 0,
  'train.report_every': 0,
  'train.save_every': 0,
  'replay.chunked.capacity': 40_000,
}


class Timer:
  """Seconds by name; of calls inside each other only the inner counts."""

  def __init__(self, clock: Callable[[], float] = time.perf_counter):
    self.seconds: collections.Counter = collections.Counter()
    self._clock, self._inner = clock, 0.0

  def __call__(self, name: str, function: Callable) -> Callable:
    def timed(*args, **kwargs):
      before, self._inner = self._inner, 0.0
      start = self._clock()
      try:
        return function(*args, **kwargs)
      finally:
        spent = self._clock() - start
        self.seconds[name] += spent - self._inner
        self._inner = before + spent

    return timed

  def watch(self, owner: object, method: str, name: str) -> None:
    setattr(owner, method, self(name, getattr(owner, method)))


def make_trainer(flags: list[str]) -> Trainer:
  """A trainer of the module's docstring."""
  config = configs.base('1m')
  configs.apply(config, FIELDS)
  overrides.override(config, flags)
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  spaces = envs.obs_space, envs.action_space
  replay = workflow.make_replay(config, *spaces, learner)
  options = configs.bind_all(config)['train']()
  state = learner.init(config.seed)
  return Trainer(learner, state, envs, replay, (), options, config.seed)


def watched(trainer: Trainer) -> Timer:
  """A timer on the parts of a trainer."""
  timer = Timer()
  timer.watch(trainer.envs, 'step', 'environment')
  timer.watch(trainer.learner, 'policy', 'acting')
  timer.watch(trainer.replay, 'sample', 'sampling')
  timer.watch(trainer.learner, 'train_step', 'dispatch')
  timer.watch(trainer.replay, 'update', 'write_back')
  timer.watch(trainer.actor, 'act', 'acting')
  timer.watch(trainer, 'write_back', 'waiting')
  return timer


def main(argv: list[str]) -> None:
  trainer = make_trainer(argv[1:])
  timer, marks = watched(trainer), []
  half = trainer.options.steps // 2

  def mark(env_steps, updates, episode_return):
    del episode_return
    if env_steps >= half and not marks:
      jax.block_until_ready(trainer.state)
      timer.seconds.clear()
      marks.append((time.perf_counter(), updates))

  trainer.show = mark
  trainer.run()
  jax.block_until_ready(trainer.state)
  start, before = marks[0]
  updates, total = trainer.updates - before, time.perf_counter() - start
  parts = dict(timer.seconds)
  parts |= {'other': total - sum(parts.values()), 'total': total}
  host = parts['sampling'] + parts['write_back']
  record = {k: round(1e3 * v / updates, 3) for k, v in parts.items()}
  record |= {'updates': updates, 'host': round(host / total, 4)}
  print(json.dumps(record))


if __name__ == '__main__':
  main(sys.argv)
