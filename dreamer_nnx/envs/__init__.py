"""Environments: the built-ins of the slot `ENV`, and `make_vector_env`."""

from dreamer_nnx.envs import (
  atari,
  bsuite,
  catch,
  crafter,
  custom,
  dm_env_suite,
  dmc,
  gym_suite,
  memory_maze,
  minatar,
  minigrid,
  pinpad,
  procgen,
  track,
)
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.make import make_vector_env

__all__ = [
  'EnvError',
  'atari',
  'bsuite',
  'catch',
  'crafter',
  'custom',
  'dm_env_suite',
  'dmc',
  'gym_suite',
  'make_vector_env',
  'memory_maze',
  'minatar',
  'minigrid',
  'pinpad',
  'procgen',
  'track',
]
