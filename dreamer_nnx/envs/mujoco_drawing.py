"""Advice where MuJoCo cannot draw."""

import os

from dreamer_nnx.envs.faults import EnvError, describe
from dreamer_nnx.errors import UserError

APT = 'libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0'


def advice(error: Exception, where: str) -> UserError:
  """The message that tells how to draw, where that has failed.

  A wrong value has another cause, which is named alone.
  """
  if isinstance(error, ValueError):
    return EnvError(describe(error), where)
  given = os.environ.get('MUJOCO_GL')
  now = f'it is {given!r}' if given else 'it is not set'
  return UserError(
    f'MuJoCo cannot draw ({type(error).__name__}: {error}). By what it draws '
    f'is said by the variable MUJOCO_GL, here {now}, before Python starts: '
    'egl without a display, glfw with one, osmesa in software, disable where '
    f'nothing is drawn. On Debian, egl needs: apt-get install {APT}',
    where,
  )
