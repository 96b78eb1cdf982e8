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
  has a palette of its own of up to 256 colours. Pixels of small frames are
  repeated, so that they have at least HEIGHT rows.

  Args:
    frames: (T, H, W, C) uint8 with T > 0 and C of 1 (gray), 3 or 4.
    fps: Frames a second, up to 50: the delays are multiples of 10 ms, and
      browsers slow one of less than 20 ms down to 100 ms.

  Raises:
    ValueError: The frames are no video, or `fps` is not positive.
  """
  check_frames(frames, fps)
  images = [_enlarged(image(frame)) for frame in frames]
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


def enlargement(height: int) -> int:
  """Returns how often each pixel is repeated, in both directions."""
  return -(-HEIGHT // height)


def image(frame: np.ndarray) -> Image.Image:
  """A (H, W, C) uint8 frame as a pillow image, which knows C by the shape."""
  frame = frame[..., 0] if frame.shape[-1] == 1 else frame
  return Image.fromarray(np.ascontiguousarray(frame))


def _enlarged(frame: Image.Image) -> Image.Image:
  factor = enlargement(frame.height)
  if factor == 1:
    return frame
  # The palette comes first: it is found sooner in fewer pixels.
  if frame.mode != 'L':
    rgb = frame.convert('RGB')
    frame = rgb.convert('P', palette=Image.Palette.ADAPTIVE)
  size = (factor * frame.width, factor * frame.height)
  return frame.resize(size, Image.Resampling.NEAREST)


def check_frames(frames: np.ndarray, fps: float) -> None:
  if not is_video(frames):
    kind = getattr(frames, 'dtype', type(frames).__name__)
    raise ValueError(
      f'frames of shape {np.shape(frames)} and type {kind}: a video is uint8 '
      '(T, H, W, C) with at least one frame and 1, 3 or 4 channels.'
    )
  if not fps > 0:
    raise ValueError(f'fps = {fps!r}: must be above 0.')
