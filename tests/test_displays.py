"""The way in which MuJoCo draws, by what the machine has."""

import ctypes
import sys

import pytest

from dreamer_nnx import displays


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
