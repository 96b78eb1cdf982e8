"""Times acting in real time while updates run, with and without `act_async`.

  python -m experiments.benchmarks.realtime [RATE] [SECONDS] [vector|image]

A world that does nothing, of 4 numbers or 64x64 pixels and 2 actions, is acted
in RATE times a second (20) by an agent of the demo's size, and two updates are
asked for at each step, for which there is no time. Each way is measured when
everything is compiled, for SECONDS (30). Prints JSON lines:

  act_async   whether acting has a thread of its own
  asked       steps a second that were asked for
  rate        steps a second that were made
  missed      share of the deadlines that were missed
  lateness    ms that the latest step was late
  idle        share that a thread misses which only waits, beside the same
              updates: what the system has to answer for
  updates     updates a second
  age         seconds, mean age of the parameters that were acted with
  age_max     seconds, the oldest of them
  age_updates   updates, their mean age
  load        of the machine in the minute before, other work included
"""

import json
import os
import sys
import threading
import time

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from dreamer_nnx.envs.pacing import Pacer
from dreamer_nnx.training.loop import Trainer
from experiments.benchmarks.world import World

DEFAULTS = ('20', '30', 'vector')
# Updates before anything is measured.
WARM = 20
CHANGES = {
  'env.name': 'custom',
  'env.custom.make': 'experiments.benchmarks.world:World',
  'loggers.names': (),
  'train.envs': 1,
  'train.batch_size': 16,
  'train.batch_length': 16,
  # Two updates a step, more than there is time for at 20 Hz.
  'train.train_ratio': 512.0,
  'train.max_owed': 1,
  'train.log_every': 0,
  'train.report_every': 0,
  'train.save_every': 0,
}


def make_trainer(config, learner) -> Trainer:
  envs = workflow.make_envs(config)
  replay = workflow.make_replay(
    config, envs.obs_space, envs.action_space, learner
  )
  train = configs.bind_all(config)['train']()
  return Trainer(learner, learner.init(0), envs, replay, (), train, 0)


class Idle(threading.Thread):
  """Waits for the same deadlines, and does nothing else."""

  def __init__(self, rate: float):
    super().__init__(daemon=True)
    self.pacer, self.steps, self.over = Pacer(rate), 0, False

  def run(self) -> None:
    while not self.over:
      self.pacer.wait()
      self.steps += 1


def measure(config, learner, rate: float, seconds: float) -> dict:
  """Trains until there are updates, then for so many seconds."""
  trainer, idle, marks = make_trainer(config, learner), Idle(rate), []

  def mark() -> None:
    missed = trainer.actor.stats()['env/missed_deadlines']
    marks.append((time.monotonic(), trainer.updates, missed))

  def stop() -> bool:
    if not marks and trainer.updates >= WARM:
      mark()
      idle.start()
    over = bool(marks) and time.monotonic() - marks[0][0] >= seconds
    if over and len(marks) == 1:
      # Of the last call alone are ages and lateness, which begin anew.
      trainer.last = trainer.actor.stats()
      marks.append((time.monotonic(), trainer.updates, 0.0))
    return over

  trainer.stop = stop
  trainer.run()
  idle.over = True
  (begin, before, first), (end, after, _) = marks
  times = [x for x in World.times if begin <= x <= end]
  last = trainer.last
  trainer.envs.close()
  return {
    'rate': (len(times) - 1) / (times[-1] - times[0]),
    'missed': (last['env/missed_deadlines'] - first) / len(times),
    'lateness': last['env/lateness_ms'],
    'idle': idle.pacer.missed / max(1, idle.steps),
    'updates': (after - before) / (end - begin),
    'age': last.get('acting/parameter_age', 0.0),
    'age_max': last.get('acting/parameter_age_max', 0.0),
    'age_updates': last.get('acting/parameter_age_updates', 0.0),
  }


def main() -> None:
  rate, seconds, observed = [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]]
  config = overrides.load_file('demo')
  world = (f'observed={observed!r}',)
  paced = {'env.custom.control_rate': float(rate)}
  configs.apply(config, CHANGES | paced | {'env.custom.arguments': world})
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  envs.close()
  for act_async in (False, True):
    configs.apply(config, {'train.act_async': act_async})
    load = os.getloadavg()[0]
    found = measure(config, learner, float(rate), float(seconds))
    numbers = {'asked': float(rate)} | found | {'load': load}
    line = {k: round(x, 4) for k, x in numbers.items()}
    print(json.dumps({'act_async': act_async} | line), flush=True)


if __name__ == '__main__':
  main()
