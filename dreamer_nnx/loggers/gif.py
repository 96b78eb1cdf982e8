"""Animated GIFs, which browsers and TensorBoard play without a plug-in."""

import io

import numpy as np
from PIL import Image

from dreamer_nnx.loggers.values import is_video

# Pixels that a frame is high at least.
HEIGHT = 256


def encode_gif(frames: np.ndarray, fps: float) -> bytes:
  """Encodes a video that repeats for ever.

  Frames equal to the one before them are stored as a longer delay. Each frame
  has a palette of its own of up to 256 colours. Small frames are `enlarged`.

  Args:
    frames: (T, H, W, C) uint8 with T > 0 and C of 1 (gray), 3 or 4.
    fps: Frames a second, up to 50: the delays are multiples of 10 ms, and
      browsers slow one of less than 20 ms down to 100 ms.

  Raises:
    ValueError: The frames are no video, or `fps` is not positive.
  """
  check_frames(frames, fps)
  images = [image(frame) for frame in enlarged(frames)]
  file = io.BytesIO()
  images[0].save(
    file,
    format='GIF',
    save_all=True,
    append_images=images[1:],
    duration=10 * max(2, round(100 / fps)),
    loop=0,
  )
  return file.getvalue()


def enlarged(frames: np.ndarray) -> np.ndarray:
  """Repeats each pixel of (T, H, W, C) frames, to at least HEIGHT rows.

  All pixels are repeated equally often in both directions; frames that are
  high enough are returned as they are.
  """
  factor = -(-HEIGHT // frames.shape[1])
  return frames.repeat(factor, 1).repeat(factor, 2) if factor > 1 else frames


def image(frame: np.ndarray) -> Image.Image:
  """A (H, W, C) uint8 frame as a pillow image, which knows C by the shape."""
  frame = frame[..., 0] if frame.shape[-1] == 1 else frame
  return Image.fromarray(np.ascontiguousarray(frame))


def check_frames(frames: np.ndarray, fps: float) -> None:
  if not is_video(frames):
    kind = getattr(frames, 'dtype', type(frames).__name__)
    raise ValueError(
      f'frames of shape {np.shape(frames)} and type {kind}: a video is uint8 '
      '(T, H, W, C) with at least one frame and 1, 3 or 4 channels.'
    )
  if not fps > 0:
    raise ValueError(f'fps = {fps!r}: must be above 0.')
