"""Predictions of the demo's agent: the last video of its own reports."""

import functools
import shutil
from pathlib import Path

from dreamer_nnx.errors import UserError
from experiments.jobs import runs
from experiments.jobs.launching import ROOT, Job, Launcher

CONFIG, MODE = 'demo', 'train'
RUNS = ROOT / 'runs' / 'figures'
VIDEOS = 'videos/report_openloop_image_*.gif'
FILE = 'openloop.gif'


def files() -> list[str]:
  """Names of the figures."""
  return [FILE]


def make(folder: Path) -> None:
  """Trains the demo, unless that was done before, and takes its last video.

  Raises:
    UserError: It was not trained to the end.
  """
  workdir = RUNS / CONFIG
  config = runs.checked(CONFIG, ())
  job = Job(
    CONFIG,
    runs.command(CONFIG, workdir, MODE, ()),
    workdir.with_suffix('.log'),
    functools.partial(runs.finished, workdir, config, MODE),
  )
  if not Launcher(1)([job]):
    raise UserError('was not trained to the end. Try again.', str(workdir))
  videos = sorted(workdir.glob(VIDEOS))
  if not videos:
    text = f'has no {VIDEOS}. Remove the folder, and try again.'
    raise UserError(text, str(workdir))
  folder.mkdir(parents=True, exist_ok=True)
  shutil.copy(videos[-1], folder / FILE)
