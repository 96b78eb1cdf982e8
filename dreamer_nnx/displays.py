"""The way in which MuJoCo draws on this machine."""

import ctypes
import os
import sys


def renderer() -> str:
  """The value of MUJOCO_GL for a machine without a display, if it can draw.

  MuJoCo reads it when it is imported, here or in a worker. Without it MuJoCo
  would open a window; and where that of the result is not installed, it could
  not even be imported.
  """
  display = {'DISPLAY', 'WAYLAND_DISPLAY'} & os.environ.keys()
  if display or sys.platform != 'linux':
    return ''
  try:
    ctypes.CDLL('libEGL.so.1')
  except OSError:
    return ''
  return 'egl'
