"""Every mesh learns what one device does, and stores what its rules say."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from gymnasium import spaces as gym_spaces
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as Spec

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.registry import Part
from dreamer_nnx.show import size
from dreamer_nnx.training import sharding
from dreamer_nnx.training.pure import OPTIMIZER
from dreamer_nnx.training.sharding import AXES, MeshOptions, Sharding
from tests.plain import PLAIN
from tests.training.meshes import ACTIONS, OBS, make_config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# Of `all` the axis `data` is one of three.
NAMES = (pytest.param('data', marks=pytest.mark.whole), 'fsdp', 'all')
IMAGE = gym_spaces.Box(0, 255, (64, 64, 3), np.uint8)


def mesh_of(data, fsdp, tensor, rules=None):
  mesh = AbstractMesh((data, fsdp, tensor), AXES)
  return Sharding(mesh, *([MeshOptions(rules=rules).table()] if rules else []))


@pytest.fixture(scope='module')
def found():
  """What `meshes` prints of each mesh."""
  return printed('fsdp', 'all')


@functools.cache
def printed(*names):
  flags = '--xla_force_host_platform_device_count=8 ' + PLAIN['XLA_FLAGS']
  done = subprocess.run(
    [sys.executable, '-m', 'tests.training.meshes', *names],
    cwd=ROOT,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.parametrize('name', NAMES)
def test_five_updates_are_those_of_one_device(found, name):
  found = found if name in found else printed(name)
  # Sums over the batch are added up in another order.
  np.testing.assert_allclose(
    found[name]['losses'], found['one']['losses'], rtol=0, atol=1e-5
  )
  for parameter, gap in found[name]['gaps'].items():
    # Momenta of gradients near 0 are the signs of rounding errors.
    assert gap < (1e-3 if parameter.startswith(OPTIMIZER) else 1e-4), parameter


@pytest.mark.parametrize('name', NAMES)
def test_arrays_are_where_the_rules_say_and_act_whole(found, name):
  found = found if name in found else printed(name)
  assert found[name]['placed']
  assert set(found[name]['acting'].values()) == {0.0}
  rows = {'data': 1, 'fsdp': 1, 'all': 2}[name]
  assert found[name]['rows'] == [rows] * 8


def test_one_device_needs_no_collective(found):
  assert set(found['one']['collectives'].values()) == {0}


def test_fsdp_gathers_each_split_parameter_once_and_reduces_gradients(found):
  config = make_config()
  mesh = mesh_of(1, 8, 1)
  learner = workflow.make_learner(config, OBS, ACTIONS, mesh)
  split = [
    name
    for name in learner.layout.shapes
    if any(learner.abstract[name].sharding.spec)
  ]
  # Beside them the returns, whose percentiles are of the whole batch, and the
  # starts of imagination. The optimiser's state has two arrays each: with
  # them it would be three times as many.
  assert len(found['fsdp']['gathered']) <= len(split) + 3
  assert found['fsdp']['collectives']['all-reduce'] > 0


def test_fsdp_stores_an_eighth_of_12m_on_each_device():
  learner = workflow.make_learner(
    configs.base('12m'), OBS | {'image': IMAGE}, ACTIONS, mesh_of(1, 8, 1)
  )
  kept = {
    k: x
    for k, x in learner.abstract.items()
    if k in learner.layout.trained or k.startswith(OPTIMIZER)
  }
  assert size(kept, local=True) <= size(kept) / 7


def test_rules_split_what_divides_and_each_axis_once():
  mesh = mesh_of(1, 4, 2)
  stored = lambda *x: mesh.stored(*x).spec
  assert stored((8, 6), ('inputs', 'outputs')) == Spec('fsdp', 'tensor')
  assert stored((6, 6), ('inputs', 'outputs')) == Spec(None, 'tensor')
  blocks = ('blocks', 'inputs', 'outputs')
  assert stored((2, 8, 6), blocks) == Spec('tensor', 'fsdp', None)
  assert stored((3, 8, 6), blocks) == Spec(None, 'fsdp', 'tensor')
  assert stored((5,), None) == Spec(None)
  assert mesh.gathered((8, 6), ('inputs', 'outputs')).spec == Spec(
    None, 'tensor'
  )
  assert mesh.unsplit((6, 6), ('inputs', 'outputs')) == ['inputs 6 over fsdp 4']
  assert mesh.unsplit((2, 8, 6), blocks) == []
  assert mesh_of(8, 1, 1).unsplit((7, 5), ('inputs', 'outputs')) == []
  assert mesh.unsplit((8, 8), None) == ['its axes have no names']
  assert mesh_of(8, 1, 1).unsplit((8, 8), None) == []


def test_the_first_rule_that_fits_is_used():
  mesh = mesh_of(2, 2, 2, ('a:tensor', 'a:fsdp', 'b:fsdp'))
  assert mesh.stored((4, 4), ('a', 'b')).spec == Spec('tensor', 'fsdp')
  assert mesh.stored((4, 4), ('a', 'a')).spec == Spec('tensor', 'fsdp')
  assert mesh.stored((3, 4), ('a', 'b')).spec == Spec(None, 'fsdp')


def test_names_must_be_as_many_as_axes():
  with pytest.raises(ValueError, match='one for each axis'):
    mesh_of(1, 2, 1).stored((4, 4), ('inputs',))


def test_the_rest_of_the_devices_fills_an_axis():
  assert MeshOptions().sizes(8) == (8, 1, 1)
  assert MeshOptions(data=2, fsdp=-1, tensor=2).sizes(16) == (2, 4, 2)
  assert MeshOptions(data=1, fsdp=8).sizes(8) == (1, 8, 1)


def test_the_mesh_has_three_axes_of_all_devices():
  made = sharding.make_sharding()
  count = len(jax.devices())
  assert dict(made.mesh.shape) == {'data': count, 'fsdp': 1, 'tensor': 1}
  assert made.rows == count


@pytest.mark.parametrize(
  'options, message',
  [
    ({'data': 0}, 'config.mesh.data = 0: must be at least 1, or -1'),
    ({'fsdp': -1}, 'config.mesh: more than one of data, fsdp, tensor is -1'),
    (
      {'rules': ('a:b',)},
      "config.mesh.rules = ('a:b',): must be name:axis",
    ),
    ({'rules': ('fsdp',)}, "config.mesh.rules = ('fsdp',): must be"),
  ],
)
def test_meshes_that_cannot_be_are_refused(options, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    Part(MeshOptions, **options).at('config.mesh')()


def test_devices_that_the_mesh_does_not_use_are_refused():
  message = (
    'config.mesh: data 3 x fsdp 1 x tensor 1 does not make up the 8 devices '
    'there are. Set one of them to -1, for what is left.'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    MeshOptions(data=3).sizes(8)
  with pytest.raises(ValueError, match='does not make up'):
    MeshOptions(fsdp=3).sizes(8)


def test_rows_go_to_the_mesh_and_come_back():
  made = sharding.make_sharding(devices=jax.devices()[:1])
  x = np.arange(6.0).reshape(3, 2)
  placed = sharding.put_rows(made, {'x': x})
  assert placed['x'].sharding == made.batch
  np.testing.assert_array_equal(sharding.local_rows(placed)['x'], x)
  other = sharding.put_global(x, made.replicated)
  np.testing.assert_array_equal(sharding.local_copy(other), x)


def test_a_batch_that_does_not_split_is_refused():
  mesh = mesh_of(4, 2, 1)
  mesh.check_batch(16)
  message = (
    'config.train.batch_size = 12: must be a multiple of the 8 devices on the '
    "axes 'data' and 'fsdp'."
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    mesh.check_batch(12)
