"""Environments: the built-ins of the slot `ENV`, and `make`."""

from dreamer_nnx.envs import catch, custom, gym_suite, track
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.make import make

__all__ = ['EnvError', 'catch', 'custom', 'gym_suite', 'make', 'track']
