"""Steps a second of vectors of environments, beside their packages alone.

  python -m experiments.benchmarks.envs atari minatar

Both are stepped in turns, with the same random actions and number of
environments, in one process. It prints environment steps a second, medians of
the turns, and what of the package's are left. On a machine with other work
--cpu counts the seconds of the processor instead.
"""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np

from dreamer_nnx import envs
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

NUM_ENVS = 16
Stepper = Callable[[np.ndarray], object]
Suite = Callable[[int], tuple[Stepper, Stepper, int | tuple[int, ...]]]


def ours(name: str, num_envs: int, **fields) -> Stepper:
  """The vector of a config, with one action."""
  env = envs.make_vector_env(Choice(ENV, name, **fields), num_envs, 0)
  env.reset()
  return lambda actions: env.step({'action': actions})


def atari(num_envs: int) -> tuple[Stepper, Stepper, int]:
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
  return native.step, ours('atari', num_envs), 18


def minatar(num_envs: int) -> tuple[Stepper, Stepper, int]:
  """Seaquest, a pixel a cell."""
  from minatar import Environment

  games = [Environment('seaquest') for _ in range(num_envs)]

  def step(actions):
    cells = []
    for game, action in zip(games, actions.tolist(), strict=True):
      _, over = game.act(action)
      if over:
        game.reset()
      cells.append(game.state())
    return np.stack(cells)

  return step, ours('minatar', num_envs, task='seaquest', scale=1), 6


def procgen(num_envs: int) -> tuple[Stepper, Stepper, int]:
  """CoinRun of hard levels."""
  import envpool

  pool = envpool.make_gymnasium(
    'CoinrunHard-v0', num_envs=num_envs, channel_first=False
  )
  pool.reset()
  return pool.step, ours('procgen', num_envs), 15


def dmc(num_envs: int) -> tuple[Stepper, Stepper, tuple[int, ...]]:
  """walker_walk from state; dm_control begins episodes anew by itself."""
  from dm_control import suite

  natives = [suite.load('walker', 'walk') for _ in range(num_envs)]

  def step(actions):
    return [x.step(y) for x, y in zip(natives, actions, strict=True)]

  return step, ours('dmc', num_envs, task='walker_walk'), (6,)


def registered(id: str, actions: int | tuple[int, ...], fields: dict) -> Suite:
  """An environment of gymnasium's registry, as `gymnasium.make` makes it.

  Args:
    fields: Of our suite, `name` among them.
  """

  def suite(num_envs):
    import gymnasium

    natives = [gymnasium.make(id) for _ in range(num_envs)]
    for index, env in enumerate(natives):
      env.reset(seed=index)

    def step(actions):
      for env, action in zip(natives, actions, strict=True):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
          env.reset()

    return step, ours(num_envs=num_envs, **fields), actions

  return suite


def of_gymnasium(id: str, actions: int | tuple[int, ...]) -> Suite:
  return registered(id, actions, {'name': 'gymnasium', 'id': id})


def minigrid(num_envs: int) -> tuple[Stepper, Stepper, int]:
  """DoorKey-6x6; the package's observation is no one-hot one."""
  importlib.import_module('minigrid')
  return registered('MiniGrid-DoorKey-6x6-v0', 7, {'name': 'minigrid'})(
    num_envs
  )


def crafter(num_envs: int) -> tuple[Stepper, Stepper, int]:
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

  return step, our, 17


def bsuite(num_envs: int) -> tuple[Stepper, Stepper, int]:
  """catch/0; bsuite begins episodes anew by itself."""
  from bsuite import load_from_id

  natives = [load_from_id('catch/0') for _ in range(num_envs)]

  def step(actions):
    return [x.step(y) for x, y in zip(natives, actions, strict=True)]

  return step, ours('bsuite', num_envs), 3


# By name: makes the package's step and ours, and says how many actions there
# are, or the shape of one that is continuous.
SUITES = {
  'atari': atari,
  'bsuite': bsuite,
  'cartpole': of_gymnasium('CartPole-v1', 2),
  'cheetah': of_gymnasium('HalfCheetah-v5', (6,)),
  'crafter': crafter,
  'dmc': dmc,
  'lunarlander': of_gymnasium('LunarLander-v3', 4),
  'minatar': minatar,
  'minigrid': minigrid,
  'pendulum': of_gymnasium('Pendulum-v1', (1,)),
  'procgen': procgen,
}


def drawn(count: int | tuple[int, ...], shape: tuple[int, int]) -> np.ndarray:
  """Random actions (T, W, ...)."""
  rng = np.random.default_rng(0)
  if isinstance(count, int):
    return rng.integers(0, count, shape).astype(np.int32)
  return rng.uniform(-1, 1, (*shape, *count)).astype(np.float32)


def measure(
  steppers: Iterable[Stepper],
  actions: np.ndarray,
  turns: int,
  clock: Callable[[], float],
) -> list[float]:
  """Environment steps a second of each, medians of alternating turns."""
  steppers = list(steppers)
  rates = [[] for _ in steppers]
  for turn in range(turns + 1):
    for stepper, found in zip(steppers, rates, strict=True):
      start = clock()
      for row in actions:
        stepper(row)
      # The first turn warms up.
      if turn:
        found.append(actions.shape[0] * actions.shape[1] / (clock() - start))
  return [statistics.median(found) for found in rates]


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
    package, our, count = SUITES[name](flags.envs)
    actions = drawn(count, (flags.steps, flags.envs))
    direct, mine = measure((package, our), actions, flags.turns, clock)
    print(
      f'{name}: package {direct:.0f}, here {mine:.0f} steps/s, '
      f'{100 * mine / direct:.0f}%',
      flush=True,
    )


if __name__ == '__main__':
  main()
