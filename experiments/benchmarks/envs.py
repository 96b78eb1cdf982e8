"""Steps a second of vectors of environments, beside their packages alone.

  python -m experiments.benchmarks.envs atari minatar

All are stepped in turns, with the same random actions and number of
environments, in one process:

  here     the suite, with everything that training has of it
  loop     a loop over the package's environments. Those of gymnasium's
           interface throw their answers away, which no user of a vector can;
           those of dm_env's, and MinAtar, are stacked to arrays (W, ...)
  vector   the package's own vector of environments: for ids of gymnasium that
           of `gymnasium.make_vec` in this process, which stacks its answers

It prints microseconds of an environment step, and what share of the steps a
second of each other is left here, of the fastest turn of each: other work on
the machine only ever makes a turn slower. There --cpu counts the seconds of the
processor, and many short turns are better than a few long ones.
"""

import argparse
import importlib
import time
from collections.abc import Callable

import gymnasium
import numpy as np
from numpy.typing import DTypeLike

from dreamer_nnx import envs, streams
from dreamer_nnx.envs import old_gym
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

NUM_ENVS = 16
LOOP, VECTOR, HERE = 'loop', 'vector', 'here'
Stepper = Callable[[np.ndarray], object]
# Number of actions, or the shape of one that is continuous.
Actions = int | tuple[int, ...]
Suite = Callable[[int], tuple[dict[str, Stepper], Actions]]


def ours(name: str, num_envs: int, **fields) -> Stepper:
  """The vector of a config, with one action."""
  env = envs.make_vector_env(Choice(ENV, name, **fields), num_envs, 0)
  env.reset()
  return lambda actions: env.step({'action': actions})


def atari(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """Pong of 96 x 96 gray pixels."""
  from ale_py.vector_env import AtariVectorEnv

  native = AtariVectorEnv(
    'pong',
    num_envs,
    img_height=96,
    img_width=96,
    stack_num=1,
    noop_max=31,
    reward_clipping=False,
    use_fire_reset=False,
    full_action_space=True,
    repeat_action_probability=0.25,
  )
  native.reset(seed=0)
  return {VECTOR: native.step, HERE: ours('atari', num_envs)}, 18


def minatar(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """Seaquest, a pixel a cell."""
  from minatar import Environment

  games = [Environment('seaquest') for _ in range(num_envs)]

  def step(actions):
    cells, rewards, ends = [], [], []
    for game, action in zip(games, actions.tolist(), strict=True):
      reward, over = game.act(action)
      if over:
        game.reset()
      cells.append(game.state())
      rewards.append(reward)
      ends.append(over)
    seen = np.array(cells, np.float32)
    return seen, np.array(rewards, np.float32), np.array(ends)

  here = ours('minatar', num_envs, task='seaquest', scale=1)
  return {LOOP: step, HERE: here}, 6


def procgen(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """CoinRun of hard levels."""
  import envpool

  pool = envpool.make_gymnasium(
    'CoinrunHard-v0', num_envs=num_envs, channel_first=False
  )
  pool.reset()
  return {VECTOR: pool.step, HERE: ours('procgen', num_envs)}, 15


def stacked(natives: list, dtype: DTypeLike = np.float32) -> Stepper:
  """Steps environments of dm_env's interface, and stacks what they answer."""

  def step(actions):
    times = [x.step(y) for x, y in zip(natives, actions, strict=True)]
    rewards = np.array([time.reward or 0 for time in times], np.float32)
    ends = np.array([time.last() for time in times])
    seen = [time.observation for time in times]
    if isinstance(seen[0], np.ndarray):
      return np.array(seen, dtype), rewards, ends
    arrays = {k: np.array([x[k] for x in seen], dtype) for k in seen[0]}
    return arrays, rewards, ends

  return step


def dmc(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """walker_walk from state; dm_control begins episodes anew by itself."""
  from dm_control import suite

  # From the same states, for what touches the ground takes time.
  seeds = [streams.seed(0, Stream.RESET, index) for index in range(num_envs)]
  natives = [suite.load('walker', 'walk', {'random': x}) for x in seeds]
  here = ours('dmc', num_envs, task='walker_walk')
  return {LOOP: stacked(natives), HERE: here}, (6,)


def memory_maze(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """9x9, 64 x 64 pixels; the package begins episodes anew by itself."""
  here = ours('memory_maze', num_envs)
  with old_gym.replaced():
    from memory_maze import tasks

  # The same mazes, for what is seen takes time to draw.
  seeds = [streams.seed(0, Stream.MAKE, index) for index in range(num_envs)]
  make = tasks.memory_maze_9x9
  natives = [make(image_only_obs=True, seed=seed) for seed in seeds]
  return {LOOP: stacked(natives, np.uint8), HERE: here}, 6


def registered(
  id: str,
  actions: Actions,
  fields: dict,
  wrap: Callable[[gymnasium.Env], gymnasium.Env] = lambda env: env,
) -> Suite:
  """An environment of gymnasium's registry, as `gymnasium.make` makes it.

  Args:
    fields: Of our suite, `name` among them.
    wrap: Presents what the suite observes, in the package's own words.
  """

  def suite(num_envs):
    natives = [wrap(gymnasium.make(id)) for _ in range(num_envs)]
    for index, env in enumerate(natives):
      env.reset(seed=index)

    def step(actions):
      for env, action in zip(natives, actions, strict=True):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
          env.reset()

    vector = gymnasium.make_vec(id, num_envs, 'sync', wrappers=[wrap])
    vector.reset(seed=0)
    here = ours(num_envs=num_envs, **fields)
    return {LOOP: step, VECTOR: vector.step, HERE: here}, actions

  return suite


def of_gymnasium(id: str, actions: Actions) -> Suite:
  return registered(id, actions, {'name': 'gymnasium', 'id': id})


def minigrid(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """DoorKey-6x6 by symbols; the package's observation is no one-hot one."""
  importlib.import_module('minigrid')
  fields = {'name': 'minigrid'}
  return registered('MiniGrid-DoorKey-6x6-v0', 7, fields)(num_envs)


def minigrid_pixels(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """DoorKey-6x6 as it is drawn."""
  library = importlib.import_module('minigrid.wrappers')
  wrap = lambda env: library.RGBImgPartialObsWrapper(env, tile_size=8)
  fields = {'name': 'minigrid', 'view': 'pixels'}
  return registered('MiniGrid-DoorKey-6x6-v0', 7, fields, wrap)(num_envs)


def crafter(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """Crafter's 64 x 64 pictures and achievements."""
  # First, for it changes how the package keeps its creatures.
  our = ours('crafter', num_envs)
  from crafter import Env

  natives = [Env(seed=index) for index in range(num_envs)]
  for env in natives:
    env.reset()

  def step(actions):
    for env, action in zip(natives, actions, strict=True):
      if env.step(action)[2]:
        env.reset()

  return {LOOP: step, HERE: our}, 17


def bsuite(num_envs: int) -> tuple[dict[str, Stepper], Actions]:
  """catch/0; bsuite begins episodes anew by itself."""
  from bsuite import load_from_id

  natives = [load_from_id('catch/0') for _ in range(num_envs)]
  return {LOOP: stacked(natives), HERE: ours('bsuite', num_envs)}, 3


# By name: makes the steps of each, and says what actions there are.
SUITES = {
  'atari': atari,
  'bsuite': bsuite,
  'cartpole': of_gymnasium('CartPole-v1', 2),
  'cheetah': of_gymnasium('HalfCheetah-v5', (6,)),
  'crafter': crafter,
  'dmc': dmc,
  'lunarlander': of_gymnasium('LunarLander-v3', 4),
  'memory_maze': memory_maze,
  'minatar': minatar,
  'minigrid': minigrid,
  'minigrid_pixels': minigrid_pixels,
  'pendulum': of_gymnasium('Pendulum-v1', (1,)),
  'procgen': procgen,
}


def drawn(count: Actions, shape: tuple[int, int]) -> np.ndarray:
  """Random actions (T, W, ...)."""
  rng = np.random.default_rng(0)
  if isinstance(count, int):
    return rng.integers(0, count, shape).astype(np.int32)
  return rng.uniform(-1, 1, (*shape, *count)).astype(np.float32)


def measure(
  steppers: dict[str, Stepper],
  actions: np.ndarray,
  turns: int,
  clock: Callable[[], float],
) -> dict[str, list[float]]:
  """Microseconds of an environment step of each, in alternating turns."""
  times = {name: [] for name in steppers}
  for turn in range(turns + 1):
    for name, stepper in steppers.items():
      start = clock()
      for row in actions:
        stepper(row)
      # The first turn warms up.
      if turn:
        count = actions.shape[0] * actions.shape[1]
        times[name].append(1e6 * (clock() - start) / count)
  return times


def told(times: dict[str, list[float]]) -> str:
  """Says the times of the fastest turns, and what is left here of others."""
  best = {name: min(found) for name, found in times.items()}
  left = {name: f' ({100 * x / best[HERE]:.0f}%)' for name, x in best.items()}
  left[HERE] = ''
  return ', '.join(f'{k} {x:.1f} us{left[k]}' for k, x in best.items())


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('suite', nargs='*', help='suites; all without one')
  parser.add_argument('--envs', type=int, default=NUM_ENVS)
  parser.add_argument('--steps', type=int, default=200, help='of a turn')
  parser.add_argument('--turns', type=int, default=7)
  parser.add_argument('--cpu', action='store_true')
  flags = parser.parse_args()
  clock = time.process_time if flags.cpu else time.perf_counter
  for name in flags.suite or SUITES:
    steppers, count = SUITES[name](flags.envs)
    actions = drawn(count, (flags.steps, flags.envs))
    times = measure(steppers, actions, flags.turns, clock)
    print(f'{name}, {flags.envs}: {told(times)}', flush=True)


if __name__ == '__main__':
  main()
