"""Scalars and videos to Weights & Biases."""

import io
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dreamer_nnx.errors import UserError
from dreamer_nnx.loggers.gif import encode_gif
from dreamer_nnx.loggers.values import scalars, videos
from dreamer_nnx.registry import pick
from dreamer_nnx.slots import LOGGER

MODES = {mode: mode for mode in ('offline', 'online', 'disabled')}
AXIS = 'env_steps'


@LOGGER.register('wandb')
class WandbLogger:
  """Logs to one run per workdir; the same workdir continues its run.

  Args:
    name: Name of the run; empty takes the name of the workdir.
    mode: `offline` keeps the run in the workdir, for `wandb sync`; `online`
      uploads it and needs a login; `disabled` logs nothing.
    fps: Frames a second of the videos.
    project: Project that the run belongs to.

  Raises:
    ValueError: The package wandb is not installed, or the mode is unknown.
  """

  def __init__(
    self,
    workdir: str | Path,
    *,
    project: str = 'dreamer_nnx',
    name: str = '',
    mode: str = 'offline',
    fps: int = 10,
  ):
    pick(MODES, mode, 'mode')
    wandb = _package()
    self._wandb, self._fps = wandb, fps
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    self._run = wandb.init(
      project=project,
      name=name or workdir.resolve().name,
      mode=mode,
      dir=str(workdir),
      id=_run_id(workdir / 'wandb_id.txt'),
      # Without an upload there is nothing to resume; it would warn.
      resume='allow' if mode == 'online' else None,
    )
    # Its own step counter refuses to go back, as a run that continues from a
    # checkpoint does; an axis of our own may.
    self._run.define_metric(AXIS)
    self._run.define_metric('*', step_metric=AXIS)

  @staticmethod
  def check_packages() -> None:
    """Raises UserError if the package cannot be imported."""
    _package()

  def write(self, env_steps: int, metrics: Mapping[str, Any]) -> None:
    shown = scalars(metrics) | {
      name: self._wandb.Video(
        io.BytesIO(encode_gif(video, self._fps)), format='gif'
      )
      for name, video in videos(metrics).items()
    }
    if shown:
      self._run.log(shown | {AXIS: int(env_steps)})

  def close(self) -> None:
    self._run.finish()


def _package() -> ModuleType:
  try:
    import wandb
  except ImportError as error:
    raise UserError(
      f'the package wandb cannot be imported ({error}). Install the extra: '
      "pip install 'dreamer_nnx[wandb]'."
    ) from error
  return wandb


def _run_id(path: Path) -> str:
  """The id of the workdir's run, chosen at the first call."""
  if not path.exists():
    path.write_text(uuid.uuid4().hex[:8], encoding='utf-8')
  return path.read_text(encoding='utf-8').strip()
