"""The suites: tasks as published, and how they become settings."""

import dataclasses

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import suggest
from experiments.tables.folders import folder_of


@dataclasses.dataclass(frozen=True)
class Suite:
  """A suite of tasks that are trained and scored alike.

  Args:
    tasks: Those that are run by default.
    field: The config field that takes the name of a task.
    config: The config of every run; by default the one of the suite's name.
    prefix: What comes before a task in the reference's files of scores.
    budget: Published length of a run in frames; 0 for what there is.
    normalizer: The name in normalizers.json; empty for none.
    alike: Whether returns of all tasks have one scale, so that they are
      aggregated without a normaliser.
    open: Whether other tasks than these may be named.
    score: The kind of score beside returns: '' or 'crafter'.
  """

  tasks: tuple[str, ...]
  field: str
  config: str = ''
  prefix: str = ''
  budget: int = 0
  normalizer: str = ''
  alike: bool = False
  open: bool = False
  score: str = ''


ATARI_26 = (
  'alien amidar assault asterix bank_heist battle_zone boxing breakout'
  ' chopper_command crazy_climber demon_attack freeway frostbite gopher hero'
  ' jamesbond kangaroo krull kung_fu_master ms_pacman pong private_eye qbert'
  ' road_runner seaquest up_n_down'
)
ATARI_57 = ATARI_26 + (
  ' asteroids atlantis beam_rider berzerk bowling centipede defender'
  ' double_dunk enduro fishing_derby gravitar ice_hockey montezuma_revenge'
  ' name_this_game phoenix pitfall riverraid robotank skiing solaris'
  ' space_invaders star_gunner surround tennis time_pilot tutankham venture'
  ' video_pinball wizard_of_wor yars_revenge zaxxon'
)
DMC_18 = (
  'acrobot_swingup ball_in_cup_catch cartpole_balance cartpole_balance_sparse'
  ' cartpole_swingup cartpole_swingup_sparse cheetah_run finger_spin'
  ' finger_turn_easy finger_turn_hard hopper_hop hopper_stand'
  ' pendulum_swingup reacher_easy reacher_hard walker_run walker_stand'
  ' walker_walk'
)
DMC_20 = f'{DMC_18} quadruped_run quadruped_walk'
PROCGEN = (
  'bigfish bossfight caveflyer chaser climber coinrun dodgeball fruitbot heist'
  ' jumper leaper maze miner ninja plunder starpilot'
)
# The first level of each family but `mnist`, which downloads data.
BSUITE = (
  'bandit bandit_noise bandit_scale cartpole cartpole_noise cartpole_scale'
  ' cartpole_swingup catch catch_noise catch_scale deep_sea'
  ' deep_sea_stochastic discounting_chain memory_len memory_size mountain_car'
  ' mountain_car_noise mountain_car_scale umbrella_distract umbrella_length'
)
MINIGRID = (
  'DoorKey-8x8 Empty-8x8 FourRooms KeyCorridorS3R3 LavaCrossingS9N1 MemoryS7'
  ' MultiRoom-N4-S5 SimpleCrossingS9N3 Unlock'
)


def _sorted(names: str) -> tuple[str, ...]:
  return tuple(sorted(names.split()))


SUITES = {
  # Bellemare et al. 2013, with the 57 games of Wang et al. 2016.
  'atari57': Suite(
    _sorted(ATARI_57),
    'env.atari.task',
    config='atari',
    prefix='atari_',
    budget=200_000_000,
    normalizer='atari',
  ),
  # Kaiser et al. 2020, arXiv:1903.00374.
  'atari100k': Suite(
    _sorted(ATARI_26),
    'env.atari.task',
    prefix='atari_',
    budget=400_000,
    normalizer='atari',
  ),
  # Tassa et al. 2018, arXiv:1801.00690; the tasks of arXiv:2301.04104.
  'dmc_proprio': Suite(
    _sorted(DMC_18),
    'env.dmc.task',
    prefix='dmc_',
    budget=500_000,
    alike=True,
  ),
  'dmc_vision': Suite(
    _sorted(DMC_20),
    'env.dmc.task',
    prefix='dmc_',
    budget=1_000_000,
    alike=True,
  ),
  # Hafner 2021, arXiv:2109.06780.
  'crafter': Suite(
    ('reward',), 'env.crafter.task', budget=1_000_000, score='crafter'
  ),
  # Cobbe et al. 2020, arXiv:1912.01588.
  'procgen': Suite(
    _sorted(PROCGEN),
    'env.procgen.task',
    prefix='procgen_',
    budget=50_000_000,
    normalizer='procgen',
  ),
  # Osband et al. 2020, arXiv:1908.03568.
  'bsuite': Suite(
    tuple(f'{name}/0' for name in BSUITE.split()),
    'env.bsuite.task',
    open=True,
  ),
  # Chevalier-Boisvert et al. 2023, arXiv:2306.13831; a choice, none is usual.
  'minigrid': Suite(
    _sorted(MINIGRID), 'env.minigrid.task', alike=True, open=True
  ),
  # Pasukonis et al. 2022, arXiv:2210.13383.
  'memory_maze': Suite(
    ('9x9', '11x11', '13x13', '15x15'), 'env.memory_maze.task'
  ),
  # Young and Tian 2019, arXiv:1903.03176.
  'minatar': Suite(
    ('asterix', 'breakout', 'freeway', 'seaquest', 'space_invaders'),
    'env.minatar.task',
  ),
  # Hafner et al. 2022, arXiv:2206.04114.
  'pinpad': Suite(
    ('three', 'four', 'five', 'six', 'seven', 'eight'), 'env.pinpad.task'
  ),
  'gymnasium': Suite(
    ('CartPole-v1', 'LunarLander-v3', 'Pendulum-v1'),
    'env.gymnasium.id',
    open=True,
  ),
  # Games of the package itself, to try these programs with.
  'demo': Suite(('catch', 'track'), 'env.name', normalizer='demo'),
}
OTHER_NAMES = {'atari': 'atari57'}


def find(name: str) -> tuple[str, Suite]:
  """The suite of a name, which may be another one for it.

  Raises:
    UserError: There is none.
  """
  name = OTHER_NAMES.get(name, name)
  if name not in SUITES:
    raise UserError(
      f'there is no such suite.{suggest(name, SUITES)} Suites: '
      f'{", ".join(SUITES)}.',
      '--suite',
      name,
    )
  suite = SUITES[name]
  return name, dataclasses.replace(suite, config=suite.config or name)


def choose(name: str, suite: Suite, text: str) -> tuple[str, ...]:
  """The tasks that a list with commas names; all of the suite if it is empty.

  Raises:
    UserError: One is not of the suite, there is none, or two have one folder.
  """
  if not text:
    return suite.tasks
  names = [task.strip() for task in text.split(',')]
  places: dict[str, str] = {}
  for task in names:
    if (other := places.setdefault(folder_of(task), task)) != task:
      what = f'{other!r} and {task!r} have one folder: leave one out.'
      raise UserError(what, '--tasks', text)
    if names.count(task) > 1:
      raise UserError(f'{task!r} is named twice.', '--tasks', text)
    named = task not in ('', '.', '..')
    if not named or not (suite.open or task in suite.tasks):
      raise UserError(
        f'{task!r} is no task of {name}.{suggest(task, suite.tasks)} Tasks: '
        f'{", ".join(suite.tasks)}.',
        '--tasks',
        text,
      )
  return tuple(names)
