"""The way in which MuJoCo draws on this machine."""

import ctypes
import os
import sys


def variables() -> dict[str, str]:
  """MUJOCO_GL for a machine without a display that can draw; else nothing.

  MuJoCo reads it when it is imported, here or in a worker. Without it MuJoCo
  would open a window, and set to what is not installed, it could not even be
  imported. One that is set already is left alone.
  """
  given = {'DISPLAY', 'WAYLAND_DISPLAY', 'MUJOCO_GL'} & os.environ.keys()
  if given or sys.platform != 'linux':
    return {}
  try:
    ctypes.CDLL('libEGL.so.1')
  except OSError:
    return {}
  return {'MUJOCO_GL': 'egl'}
