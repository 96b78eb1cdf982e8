"""Times the update of a run in turns with that of its default.

  python -m experiments.components.timing NAME FILE

Both are in one process, which takes TURNS updates of each, one after the other,
and adds a line to FILE: milliseconds of each update, of batch drawn to latents
stored. It counts the time that the processors worked for this process, of all
cores together, so that other work on the machine disturbs little.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable

import jax

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.main import use_cache
from dreamer_nnx.training.loop import Trainer
from experiments.components import entries

CACHE = '~/.cache/dreamer_nnx/xla'
WARM, TURNS = 3, 20
# Steps in the replay, none of them trained on.
FILLED = {
  'train.steps': 400,
  'train.offline': 0,
  'train.train_ratio': 0.0,
  'train.log_every': 0,
  'train.save_every': 0,
}


def make_trainer(name: str) -> Trainer:
  """A trainer of a run whose replay has steps."""
  config = entries.config(name)
  configs.apply(config, FILLED)
  parts = configs.bind_all(config)
  envs = workflow.make_envs(parts)
  spaces = envs.obs_space, envs.action_space
  learner = workflow.make_learner(parts, *spaces)
  replay = workflow.make_replay(parts, *spaces, learner)
  state, options = learner.init(config.seed), parts['train']()
  trainer = Trainer(learner, state, envs, replay, (), options, config.seed)
  trainer.run()
  return trainer


def update(trainer: Trainer) -> None:
  """Makes one whole update."""
  trainer.update()
  trainer.write_back()
  jax.block_until_ready(trainer.state)


def in_turns(
  calls: dict[str, Callable[[], None]],
  turns: int,
  clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
  """Milliseconds of each call, which take turns."""
  spent = {name: [] for name in calls}
  for _ in range(turns):
    for name, call in calls.items():
      start = clock()
      call()
      spent[name].append(round(1e3 * (clock() - start), 2))
  return spent


def main(argv: list[str]) -> None:
  name, file = argv[1], pathlib.Path(argv[2])
  use_cache(str(pathlib.Path(CACHE).expanduser()))
  entry = entries.named(name)
  names = {'entry': name}
  if entry.slot:
    names['default'] = entries.Entry(game=entry.game).name
  trainers = {key: make_trainer(run) for key, run in names.items()}
  calls = {key: lambda t=t: update(t) for key, t in trainers.items()}
  in_turns(calls, WARM)
  line = json.dumps(in_turns(calls, TURNS))
  with file.open('a') as out:
    out.write(line + '\n')
  for trainer in trainers.values():
    trainer.envs.close()


if __name__ == '__main__':
  main(sys.argv)
