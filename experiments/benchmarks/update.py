"""Times one update and one policy call of a config on random experience.

  python -m experiments.benchmarks.update configs/demo.py[:SIZE] [--config.a=b]

Prints one JSON line: seconds of start-up (abstract build, initialisation and
the first update, compilation included), and medians and minima of the update
and of the policy call.
"""

import json
import sys
import time

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, spaces, workflow

REPEATS = 30


def random_batch(learner, envs, train) -> dict[str, np.ndarray]:
  """A (B, T + 1) batch of arrays of the right shapes and ranges."""
  rng = np.random.default_rng(0)
  kept = workflow.step_spaces(envs.obs_space, envs.action_space, learner)
  known = dict(envs.obs_space) | dict(envs.action_space)
  batch = {'consec': np.zeros(train.batch_size, np.int32)}
  for name, x in kept.items():
    shape = (train.batch_size, train.batch_length + 1, *x.shape)
    if name in known and spaces.is_discrete(known[name]):
      batch[name] = rng.integers(0, spaces.classes(known[name]), shape)
    elif x.dtype == np.uint8:
      batch[name] = rng.integers(0, 255, shape)
    elif x.dtype == bool:
      batch[name] = rng.random(shape) < 0.01
    else:
      batch[name] = rng.normal(size=shape)
    batch[name] = batch[name].astype(x.dtype)
  return batch


def seconds(function) -> tuple[float, float]:
  """Median and minimum over repeated calls."""
  times = []
  for _ in range(REPEATS):
    start = time.perf_counter()
    jax.block_until_ready(function())
    times.append(time.perf_counter() - start)
  return float(np.median(times)), min(times)


def measure(config) -> dict[str, float]:
  """The times of a config, in seconds."""
  start = time.perf_counter()
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  state = jax.block_until_ready(learner.init(0))
  train = configs.bind_all(config)['train']()
  batch = random_batch(learner, envs, train)
  run = [state, learner.initial(train.batch_size)]

  def update():
    run[0], run[1], _, metrics = learner.train_step(*run, batch)
    return metrics

  jax.block_until_ready(update())
  start_up = time.perf_counter() - start
  update_median, update_min = seconds(update)
  obs, acting = envs.reset(), learner.acting(run[0])
  carry, key = learner.initial(envs.num_envs), jax.random.key(0)
  act = lambda: learner.policy(acting, carry, obs, key)
  jax.block_until_ready(act())
  policy_median, policy_min = seconds(act)
  envs.close()
  return {
    'start_up': start_up,
    'update': update_median,
    'update_min': update_min,
    'policy': policy_median,
    'policy_min': policy_min,
  }


def main(argv: list[str]) -> None:
  config = overrides.load_file(argv[1])
  overrides.override(config, argv[2:])
  times = measure(configs.resolve(config))
  record = {'command': ' '.join(argv[1:]), 'device': str(jax.devices()[0])}
  print(json.dumps(record | {k: round(v, 5) for k, v in times.items()}))


if __name__ == '__main__':
  main(sys.argv)
