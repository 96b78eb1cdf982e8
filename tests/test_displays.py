"""The way in which MuJoCo draws, by what the machine has."""

import ctypes
import os
import subprocess
import sys

import pytest

from dreamer_nnx import displays
from tests.launcher import ROOT


@pytest.fixture
def machine(monkeypatch):
  """A function that makes this machine another one."""

  def change(system='linux', library=True, **variables):
    monkeypatch.setattr(sys, 'platform', system)
    for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'MUJOCO_GL'):
      monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
      monkeypatch.setenv(name, value)

    def load(name):
      assert name == 'libEGL.so.1'
      if not library:
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', load)

  return change


def test_without_a_display_it_is_egl_where_there_is_one(machine):
  machine()
  assert displays.variables() == {'MUJOCO_GL': 'egl'}
  machine(library=False)
  assert displays.variables() == {}


@pytest.mark.parametrize('name', ['DISPLAY', 'WAYLAND_DISPLAY', 'MUJOCO_GL'])
def test_a_display_and_what_is_set_are_left_alone(machine, name):
  machine(**{name: ':0'})
  assert displays.variables() == {}


def test_other_systems_are_left_to_mujoco(machine):
  machine(system='darwin')
  assert displays.variables() == {}


def test_the_launcher_sets_it_before_anything_is_imported(
  tmp_path, monkeypatch
):
  for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'MUJOCO_GL'):
    monkeypatch.delenv(name, raising=False)
  (tmp_path / 'nearby.py').write_text(
    "import os\nprint(os.environ.get('MUJOCO_GL'))"
  )
  argv = ['--config.plugins=nearby', '--config=nowhere.py']
  done = subprocess.run(
    [sys.executable, '-m', 'dreamer_nnx.main', *argv],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.stdout == f'{displays.variables().get("MUJOCO_GL")}\n'
