"""Videos for the tests of what writes them."""

import io

import numpy as np
from PIL import Image


def moving_square(length: int, channels: int) -> np.ndarray:
  """(T, 12, 20, C) uint8: each frame differs from every other."""
  frames = np.full((length, 12, 20, channels), 30, np.uint8)
  frames[..., 3:] = 255
  for t in range(length):
    frames[t, 2:8, t : t + 5] = np.array([200, 90, 150, 255][:channels])
  return frames


def enlarged(frames: np.ndarray) -> np.ndarray:
  """Frames of 12 rows as a GIF has them: each pixel 22 times in both ways."""
  assert frames.shape[1] == 12
  return frames.repeat(22, 1).repeat(22, 2)


def read_gif(content: bytes) -> tuple[np.ndarray, list[int]]:
  """All frames (T, H, W, 3) of a GIF and their delays in milliseconds."""
  frames, delays = [], []
  with Image.open(io.BytesIO(content)) as file:
    for index in range(file.n_frames):
      file.seek(index)
      frames.append(np.asarray(file.convert('RGB')))
      delays.append(file.info['duration'])
  return np.stack(frames), delays
