"""Wrappers around one gymnasium environment, innermost first.

  Checked -> Repeat -> Flat -> Render -> Resize

`Checked` is in `contract`. After `Flat` observations are flat dicts of arrays
of the normalised kinds (`dreamer_nnx.spaces`). Actions are the environment's
own: a vector converts them for all its environments at once, see `interface`.
"""

from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import resize


class Repeat(gymnasium.Wrapper):
  """Takes each action `count` times, adds the rewards, stops at the end."""

  def __init__(self, env: gymnasium.Env, count: int) -> None:
    super().__init__(env)
    self._count = count

  def step(self, action: Any) -> tuple:
    total = 0.0
    for _ in range(self._count):
      obs, reward, terminated, truncated, info = self.env.step(action)
      total += reward
      if terminated or truncated:
        break
    return obs, total, terminated, truncated, info


class Flat(gymnasium.Wrapper):
  """Presents nested observations as flat dicts of arrays.

  Attributes:
    notes: Notes for the user on the way the spaces are read.

  Raises:
    UserError: For a kind of space that cannot be read, and for shapes and
      keys that do not fit.
    EnvError: An observation of `reset` or `step` is not of its space.
  """

  def __init__(self, env: gymnasium.Env, where: str) -> None:
    super().__init__(env)
    obs = spaces.normalize(env.observation_space, where, 'vector')
    act = spaces.normalize(env.action_space, where, 'action')
    for key, space in act.spaces.items():
      if spaces.is_image(space):
        raise UserError(f'{key!r}: an action cannot be an image.', where)
    self._logged = spaces.Logged(obs.spaces, where)
    spaces.check_keys(self._logged.spaces, act.spaces, where)
    self._read = obs.flatten
    if not self._logged.alike:
      read, split = obs.flatten, self._logged.split
      self._read = lambda value: split(read(value))
    self.notes = obs.notes
    self.observation_space = gymnasium.spaces.Dict(self._logged.spaces)

  def reset(self, *, seed=None, options=None) -> tuple:
    obs, info = self.env.reset(seed=seed, options=options)
    try:
      return self._read(obs), info
    except ValueError as error:
      raise EnvError(f'observation {error}') from error

  def step(self, action: Any) -> tuple:
    obs, reward, terminated, truncated, info = self.env.step(action)
    try:
      return self._read(obs), reward, terminated, truncated, info
    except ValueError as error:
      raise EnvError(f'observation {error}') from error


class Render(gymnasium.Wrapper):
  """Adds what `render` draws as the observation 'image'.

  Args:
    size: Height and width to scale to, or empty for the size as drawn. It
      draws once at the beginning, to know that size and that it can.
  """

  def __init__(
    self, env: gymnasium.Env, where: str, size: tuple[int, ...] = ()
  ) -> None:
    super().__init__(env)
    if 'image' in env.observation_space.spaces:
      raise UserError(
        "there is an observation 'image' already, leave render off.", where
      )
    self._size, self._shape = size, None
    env.reset()
    self._shape = self._draw().shape
    image = gymnasium.spaces.Box(0, 255, self._shape, np.uint8)
    self.observation_space = gymnasium.spaces.Dict(
      {**env.observation_space.spaces, 'image': image}
    )

  def reset(self, *, seed=None, options=None) -> tuple:
    obs, info = self.env.reset(seed=seed, options=options)
    return {**obs, 'image': self._draw()}, info

  def step(self, action: Any) -> tuple:
    obs, *rest = self.env.step(action)
    return {**obs, 'image': self._draw()}, *rest

  def _draw(self):
    drawn = self.env.render()
    # A copy, for the next may be drawn in the same array.
    frame = np.array(drawn)
    if frame.ndim != 3 or frame.dtype != np.uint8:
      text = (
        'render() must draw an (height, width, 3) uint8 image, it gave '
        f'{frame.dtype} of the shape {frame.shape}.'
      )
      if drawn is None:
        text = (
          f'{text} It drew nothing: gymnasium draws what is made with '
          "render_mode='rgb_array'."
        )
      raise EnvError(text)
    image = resize(frame, self._size) if self._size else frame
    if self._shape and image.shape != self._shape:
      raise EnvError(
        f'render() drew an image of the shape {frame.shape}, the first one '
        f'became {self._shape}. All drawings must be alike.'
      )
    return image


class Resize(gymnasium.ObservationWrapper):
  """Scales every image observation to one height and width.

  Raises:
    UserError: There is none.
  """

  def __init__(
    self, env: gymnasium.Env, where: str, size: tuple[int, ...]
  ) -> None:
    super().__init__(env)
    self._size = size
    flat = dict(env.observation_space.spaces)
    self._keys = [k for k, v in flat.items() if spaces.is_image(v)]
    if not self._keys:
      raise UserError(
        f'image_size = {size}: there is no image to scale among the '
        f'observations {sorted(flat)}. Leave it out, or set render, which '
        'adds a drawing of the environment as an image.',
        where,
      )
    for key in self._keys:
      shape = (*size, flat[key].shape[-1])
      flat[key] = gymnasium.spaces.Box(0, 255, shape, np.uint8)
    self.observation_space = gymnasium.spaces.Dict(flat)

  def observation(
    self, observation: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    images = {k: resize(observation[k], self._size) for k in self._keys}
    return {**observation, **images}
