"""A video file that is written frame by frame: MP4, or a GIF without ffmpeg."""

import contextlib
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

from dreamer_nnx.training.video import write_video

FPS = 20
# A GIF is encoded at once, so it ends after so many frames and bytes of them.
GIF_FRAMES, GIF_BYTES = 400, 2**27
# Seconds that ffmpeg may take for a frame, and for the end of a video.
PATIENCE = 60.0


def ffmpeg() -> str:
  """Finds the program ffmpeg: on the PATH, or in the extra `video`.

  Returns:
    Its path; empty if there is none.
  """
  if found := shutil.which('ffmpeg'):
    return found
  try:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()
  except (ImportError, RuntimeError):
    return ''


class Mp4:
  """Frames for ffmpeg, which encodes them as they come.

  Args:
    partial: File that is written; it is whole once the video is closed.
    program: Path of ffmpeg.

  Raises:
    OSError: ffmpeg does not start, ended, or stands still.
  """

  suffix, note = '.mp4', ''

  def __init__(self, partial: Path, program: str):
    self._path, self._program = partial, program
    self._process: subprocess.Popen | None = None

  def add(self, frame: np.ndarray) -> None:
    """Takes a frame (H, W, 3) uint8; all are of the size of the first."""
    if self._process is None:
      self._begin(*frame.shape[:2])
    rest = memoryview(np.ascontiguousarray(frame)).cast('B')
    pipe, end = self._process.stdin.fileno(), time.monotonic() + PATIENCE
    ready = select.poll()
    ready.register(pipe, select.POLLOUT)
    while rest:
      if not ready.poll(max(0.0, end - time.monotonic()) * 1000):
        raise OSError(f'ffmpeg took no frame for {PATIENCE:g} seconds')
      try:
        rest = rest[os.write(pipe, rest) :]
      except BlockingIOError:
        continue
      except BrokenPipeError as error:
        raise OSError(f'ffmpeg ended: {self._words()}') from error

  def finish(self) -> None:
    """Ends the video; the file is then whole."""
    self._process.stdin.close()
    try:
      status = self._process.wait(PATIENCE)
    except subprocess.TimeoutExpired as error:
      raise OSError(f'ffmpeg did not end in {PATIENCE:g} seconds') from error
    if status:
      raise OSError(f'ffmpeg failed: {self._words()}')

  def close(self) -> None:
    """Ends ffmpeg, if it still runs."""
    if self._process is not None:
      self._process.kill()
      self._process.wait()
      self._process.stdin.close()
      self._process.stderr.close()

  def _begin(self, height: int, width: int) -> None:
    # In a group of its own Ctrl-C does not reach it. Sides have to be even.
    self._process = subprocess.Popen(
      [
        self._program, '-y', '-loglevel', 'error',
        '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{width}x{height}',
        '-r', str(FPS), '-i', '-', '-vf', 'pad=ceil(iw/2)*2:ceil(ih/2)*2',
        '-pix_fmt', 'yuv420p', str(self._path),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      bufsize=0,
      process_group=0,
    )  # fmt: skip
    os.set_blocking(self._process.stdin.fileno(), False)

  def _words(self) -> str:
    """Returns what ffmpeg said of its end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._process.wait(1.0)
    said = (
      b'' if self._process.returncode is None else self._process.stderr.read()
    )
    lines = said.decode(errors='replace').strip().splitlines()
    return lines[-1] if lines else f'status {self._process.returncode}'


class Gif:
  """Frames of a GIF, up to a bound; see `Mp4`."""

  suffix = '.gif'

  def __init__(self, partial: Path):
    self._path, self._frames, self.note = partial, [], ''

  def add(self, frame: np.ndarray) -> None:
    """Takes a frame (H, W, 3) uint8, or leaves it out and notes that."""
    count = len(self._frames)
    if count < GIF_FRAMES and (count + 1) * frame.nbytes <= GIF_BYTES:
      self._frames.append(frame)
    else:
      self.note = (
        f'without ffmpeg it is a GIF, which ends after {count} steps. Install '
        "ffmpeg, or the extra: pip install 'dreamer_nnx[video]'"
      )

  def finish(self) -> None:
    """Encodes and writes the frames."""
    write_video(self._path, np.stack(self._frames), FPS)

  def close(self) -> None:
    """Lets go of the frames."""
    self._frames = []


class Film:
  """A video in a folder, under its name once it is whole.

  Args:
    stem: Path without a suffix; folders it lacks are made.

  Attributes:
    note: What is to be told of the video, if anything.
  """

  def __init__(self, stem: Path):
    stem.parent.mkdir(parents=True, exist_ok=True)
    program = ffmpeg()
    suffix = Mp4.suffix if program else Gif.suffix
    self.path = stem.with_name(stem.name + suffix)
    name = f'.{stem.name}.{os.getpid()}.partial{suffix}'
    self._partial = stem.with_name(name)
    self._kind = Mp4(self._partial, program) if program else Gif(self._partial)
    self._count = 0

  @property
  def note(self) -> str:
    return self._kind.note

  def add(self, frame: np.ndarray) -> None:
    """Takes a frame (H, W, 3) uint8; all are of the size of the first."""
    self._kind.add(frame)
    self._count += 1

  def finish(self) -> None:
    """Puts the video in its place, where there is a frame."""
    if self._count:
      self._kind.finish()
      self._partial.replace(self.path)

  def close(self) -> None:
    """Leaves nothing behind but the video."""
    self._kind.close()
    self._partial.unlink(missing_ok=True)
