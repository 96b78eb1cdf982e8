"""The script of a job array of SLURM that makes the runs of a sweep."""

import shlex
import string
import sys
from collections.abc import Sequence
from pathlib import Path

from dreamer_nnx import paths
from experiments.jobs.launching import ROOT, STOPPED

TEMPLATE = Path(__file__).with_name('slurm.sh')
FILE = 'sweep.sbatch'


def write(
  root: Path,
  indices: Sequence[int],
  parallel: int | None,
  cpus: int,
  gpus: int,
  time: str,
) -> Path:
  """Writes the script below the root.

  Args:
    indices: Of the runs that are left.
    parallel: How many run at the same time, at most.
    cpus, gpus: Of each run.
    time: Limit of a job.
  """
  limit = f'%{parallel}' if parallel else ''
  module = [sys.executable, '-m', 'experiments.sweep']
  text = string.Template(TEMPLATE.read_text('utf-8')).substitute(
    array=f'{",".join(map(str, indices))}{limit}',
    cpus=cpus,
    gpus=gpus,
    time=time,
    logs=shlex.quote(f'{root}/slurm-%A_%a.log'),
    folder=shlex.quote(str(Path.cwd())),
    checkout=shlex.quote(str(ROOT)),
    command=shlex.join([*module, f'--root={root}']),
    stopped=STOPPED,
  )
  if not gpus:
    lines = text.splitlines(keepends=True)
    text = ''.join(x for x in lines if '--gpus-per-task' not in x)
  file = root / FILE
  paths.write(file, text.encode())
  return file
