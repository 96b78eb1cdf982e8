"""Demonstrations of a player of `catch` that looks where the ball falls.

python -m experiments.variants.scripted FOLDER 200
"""

import pathlib
import sys

import numpy as np

from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from experiments.variants.cloning import DEMONSTRATION

WORKERS = 10
# Channels of the image that the ball and the paddle alone have.
BALL, PADDLE = 0, 2


def player(image: np.ndarray) -> np.ndarray:
  """Returns actions (W,) that bring the paddle below the ball.

  Args:
    image: (W, H, H, 3).
  """
  # (W, H, H, 3) to (W, H), columns that are lit.
  column = lambda channel: image[..., channel].any(1).argmax(1)
  return np.int32(1) + np.sign(column(BALL) - column(PADDLE)).astype(np.int32)


def episodes(envs: VectorEnv, count: int) -> list[dict[str, np.ndarray]]:
  """Plays whole episodes, (T, ...) by key, all of whose steps demonstrate."""
  finished, running = [], [[] for _ in range(envs.num_envs)]
  obs = envs.reset()
  while len(finished) < count:
    action = {'action': player(obs['image'])}
    steps = obs | action | {DEMONSTRATION: np.ones(envs.num_envs, np.float32)}
    for worker, kept in enumerate(running):
      kept.append({key: x[worker] for key, x in steps.items()})
      if obs['is_last'][worker]:
        every = {k: np.stack([step[k] for step in kept]) for k in steps}
        finished.append(every)
        kept.clear()
    obs = envs.step(action)
  return finished[:count]


def write(folder: pathlib.Path, count: int, **fields: int) -> float:
  """Writes episodes as .npz files; returns their mean return.

  Args:
    fields: Of the game `catch`.
  """
  envs = Choice(ENV, 'catch', **fields)(num_envs=WORKERS, seed=0)
  folder.mkdir(parents=True, exist_ok=True)
  played = episodes(envs, count)
  for number, episode in enumerate(played):
    np.savez(folder / f'{number:05d}.npz', **episode)
  envs.close()
  return float(np.mean([episode['reward'].sum() for episode in played]))


if __name__ == '__main__':
  print('mean return', write(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
