"""Frames: the axis of the simulator's steps, told by environments."""

import types

import pytest

from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.training.frames import Frames
from tests.envs.games import Counter, start


def envs_of(**attributes):
  return types.SimpleNamespace(**attributes)


def test_each_environment_step_is_so_many_frames():
  frames = Frames.of(envs_of(repeat=4))
  assert frames.metrics(0) == {'frames': 0}
  assert frames.metrics(25) == {'frames': 100}


def test_environments_that_do_not_tell_have_none():
  assert Frames.of(envs_of()).metrics(7) == {}
  # Not even where a checkpoint has some.
  assert Frames.of(envs_of(), 5, {'frames': 20}).metrics(7) == {}


@pytest.mark.parametrize(
  ('counters', 'expected'),
  [({'frames': 20}, 20 + 2 * 3), ({}, 2 * 13), (None, 2 * 13)],
)
def test_counting_goes_on_from_a_checkpoint(counters, expected):
  frames = Frames.of(envs_of(repeat=2), 10, counters)
  assert frames.metrics(13) == {'frames': expected}


def test_what_is_built_in_tells_its_repeat():
  envs = start(lambda index: Counter(), repeat=3)
  assert envs.repeat == 3
  envs.close()
  # In their checks, as games in JAX are for a run.
  assert make_vector_env(Choice(ENV, 'track'), 2, 0).repeat == 1
