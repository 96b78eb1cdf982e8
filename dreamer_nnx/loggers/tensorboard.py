"""Scalars and videos as TensorBoard event files, without TensorFlow."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.loggers.gif import encode_gif, enlargement
from dreamer_nnx.loggers.values import scalars, videos
from dreamer_nnx.slots import LOGGER


@LOGGER.register('tensorboard')
class TensorBoardLogger:
  """Writes event files into the workdir; videos are animated GIF images.

  Args:
    fps: Frames a second of the videos.

  Raises:
    ValueError: The package tensorboard is not installed.
  """

  def __init__(self, workdir: str | Path, *, fps: int = 10):
    self._fps = fps
    self._events, self._summaries, writer = _modules()
    self._writer = writer.EventFileWriter(str(workdir))
    self._started = False

  @staticmethod
  def check_packages() -> None:
    """Raises UserError if the package cannot be imported."""
    _modules()

  def write(self, env_steps: int, metrics: Mapping[str, Any]) -> None:
    values = [
      self._summaries.Summary.Value(tag=name, simple_value=value)
      for name, value in scalars(metrics).items()
    ] + [
      self._summaries.Summary.Value(tag=name, image=self._image(video))
      for name, video in videos(metrics).items()
    ]
    if not values:
      return
    if not self._started:
      self._start(env_steps)
    self._add(env_steps, summary=self._summaries.Summary(value=values))
    self._writer.flush()

  def close(self) -> None:
    self._writer.close()

  def _start(self, env_steps: int) -> None:
    # TensorBoard drops what an interrupted process wrote of later steps.
    start = self._events.SessionLog(status=self._events.SessionLog.START)
    self._add(env_steps, session_log=start)
    self._started = True

  def _add(self, env_steps: int, **content: Any) -> None:
    event = self._events.Event(
      wall_time=time.time(), step=int(env_steps), **content
    )
    self._writer.add_event(event)

  def _image(self, frames: np.ndarray) -> Any:
    _, height, width, channels = frames.shape
    factor = enlargement(height)
    return self._summaries.Summary.Image(
      height=height * factor,
      width=width * factor,
      colorspace=channels,
      encoded_image_string=encode_gif(frames, self._fps),
    )


def _modules() -> tuple[ModuleType, ModuleType, ModuleType]:
  """Modules of events, of summaries, and of their writer."""
  try:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer import event_file_writer
  except ImportError as error:
    raise UserError(
      f'the package tensorboard cannot be imported ({error}). Install the '
      "extra: pip install 'dreamer_nnx[tensorboard]'."
    ) from error
  return event_pb2, summary_pb2, event_file_writer
