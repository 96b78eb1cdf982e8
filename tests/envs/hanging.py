"""A program that steps environments of which some hang, for `test_hangs`.

  python -m tests.envs.hanging WORKERS SECONDS STEPS FIELDS...

FIELDS are those of `games.Hangs`, as JSON, one for each environment.
"""

import json
import sys

import numpy as np

from dreamer_nnx.envs import single
from tests.envs.games import Hangs


def main() -> None:
  workers, seconds, steps, *fields = sys.argv[1:]
  fields = [json.loads(text) for text in fields]
  env = single.vectorize(
    lambda index: Hangs(**fields[index]),
    single.Options(workers=workers, step_timeout=float(seconds)),
    num_envs=len(fields),
    seed=0,
    where="config.env.custom.make = 'some:game'",
  )
  env.reset()
  for _ in range(int(steps)):
    print('step', flush=True)
    env.step({'action': np.zeros(len(fields), np.int32)})
  print('stepped', flush=True)
  if workers != 'sync':
    sys.stdin.read()
  env.close()
  print('closed', flush=True)


if __name__ == '__main__':
  main()
