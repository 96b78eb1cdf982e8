"""Video files: animated GIF, or MP4 with the extra `video`."""

import dataclasses
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.loggers.gif import check_frames, encode_gif

# Of the workdir.
FOLDER = 'videos'
SUFFIXES = '.gif', '.mp4'


def write_video(path: str | Path, frames: np.ndarray, fps: float) -> Path:
  """Writes a video whole: under another name first, then renamed.

  Args:
    path: Ends in `.gif` or `.mp4`; folders it lacks are made.
    frames: (T, H, W, C) uint8 with T > 0 and C of 1 (gray), 3 or 4. MP4 has no
      transparency and even sides: an odd one gets its last line twice.
    fps: Frames a second; in a GIF up to 50, as multiples of 10 ms. Small
      frames of a GIF are enlarged, see `encode_gif`.

  Raises:
    ValueError: The suffix or the frames are not of this kind, or MP4 is asked
      for and the extra is not installed.
    OSError: The file cannot be written.
  """
  path = Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise UserError(
      f'the suffix must be one of {", ".join(SUFFIXES)}.', f'video {path}'
    )
  check_frames(frames, fps)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'.{path.stem}.{os.getpid()}.partial{suffix}')
  try:
    if suffix == '.gif':
      partial.write_bytes(encode_gif(frames, fps))
    else:
      _write_mp4(partial, frames, fps)
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)
  return path


def _write_mp4(path: Path, frames: np.ndarray, fps: float) -> None:
  try:
    import imageio_ffmpeg
  except ImportError as error:
    raise UserError(
      f'an MP4 video cannot be written ({error}). Install the extra: '
      "pip install 'dreamer_nnx[video]', or write a .gif."
    ) from error
  frames = _even_rgb(frames)
  size = f'{frames.shape[2]}x{frames.shape[1]}'
  # Our own call, for that of the package forks, which threads do not survive;
  # in a group of its own, Ctrl-C does not reach it.
  done = subprocess.run(
    [
      imageio_ffmpeg.get_ffmpeg_exe(), '-y', '-loglevel', 'error',
      '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-r', str(fps),
      '-i', '-', '-c:v', 'libx264', '-pix_fmt', 'yuv420p', str(path),
    ],
    input=frames.tobytes(),
    capture_output=True,
    process_group=0,
  )  # fmt: skip
  if done.returncode:
    lines = done.stderr.decode(errors='replace').strip()
    raise OSError(f'ffmpeg could not write the video: {lines or "no reason"}.')


def _even_rgb(frames: np.ndarray) -> np.ndarray:
  """(T, H, W, C) to (T, even H, even W, 3), which every player can show."""
  _, height, width, channels = frames.shape
  if channels == 1:
    frames = np.repeat(frames, 3, axis=-1)
  sides = (0, 0), (0, height % 2), (0, width % 2), (0, 0)
  return np.pad(frames[..., :3], sides, mode='edge')


@dataclasses.dataclass(frozen=True)
class Videos:
  """Writes the open-loop videos of a report as files."""

  folder: Path

  def write(self, env_steps: int, metrics: dict[str, Any]) -> None:
    for name, value in metrics.items():
      if np.ndim(value) == 4:
        file = f'{name.replace("/", "_")}_{env_steps:010d}.gif'
        write_video(self.folder / file, np.asarray(value), fps=10)

  def close(self) -> None:
    pass
