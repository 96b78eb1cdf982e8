"""The logs of a run, kept compressed: what the table is made of."""

import dataclasses
import io
import json
import statistics
import tarfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name('results')
SUFFIX = '.tar.xz'
# Files of a workdir: its own logs, and those of `timing` and `run`.
FILES = (
  'config.json',
  'run.json',
  'metrics.jsonl',
  'evaluations.jsonl',
  'timing.jsonl',
  'machine.json',
)
# What run.json has of the machine's folders.
PLACES = ('command', 'folder')
TRAINED, UNTRAINED = 'trained, greedy', 'untrained, sampled'


@dataclasses.dataclass(frozen=True)
class Result:
  """The logs of one run, and what the table takes from them."""

  metrics: list[dict[str, Any]]
  evaluations: list[dict[str, Any]]
  timing: dict[str, list[float]]
  machine: dict[str, Any]

  @property
  def steps(self) -> int:
    return self.evaluation(TRAINED)['env_steps']

  @property
  def parameters(self) -> int:
    """Trained parameters."""
    name = 'train/opt/param_count'
    return int(next(m[name] for m in reversed(self.metrics) if name in m))

  @property
  def milliseconds(self) -> float:
    """Median of an update, of all cores together."""
    return statistics.median(self.timing['entry'])

  @property
  def slowdown(self) -> float:
    """Time of an update relative to the default's beside it; a median."""
    own = self.timing['entry']
    beside = self.timing.get('default', own)
    return statistics.median(a / b for a, b in zip(own, beside, strict=True))

  def evaluation(self, policy: str) -> dict[str, Any]:
    """The last evaluation of a policy."""
    return [e for e in self.evaluations if e['policy'] == policy][-1]


def file_of(name: str) -> Path:
  """The file of a run's logs."""
  return FOLDER / f'{name}{SUFFIX}'


def pack(workdir: Path, name: str) -> Path:
  """Compresses the logs of a finished run; returns the file."""
  packed = io.BytesIO()
  with tarfile.open(fileobj=packed, mode='w:xz', preset=9) as archive:
    for file in FILES:
      data = (workdir / file).read_bytes()
      if file == 'run.json':
        data = without_places(data)
      member = tarfile.TarInfo(file)
      member.size = len(data)
      archive.addfile(member, io.BytesIO(data))
  path = file_of(name)
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(packed.getvalue())
  return path


def without_places(data: bytes) -> bytes:
  starts = [
    {k: x for k, x in start.items() if k not in PLACES}
    for start in json.loads(data)
  ]
  return (json.dumps(starts, indent=2) + '\n').encode()


def read(path: Path) -> Result:
  """Reads the logs of a run."""
  with tarfile.open(path) as archive:
    text = lambda file: archive.extractfile(file).read().decode()
    lines = lambda file: [json.loads(x) for x in text(file).splitlines()]
    return Result(
      lines('metrics.jsonl'),
      lines('evaluations.jsonl'),
      lines('timing.jsonl')[-1],
      json.loads(text('machine.json')),
    )


def read_all() -> dict[str, Result]:
  """Reads every result, by the name of its run."""
  files = sorted(FOLDER.glob(f'*{SUFFIX}'))
  return {file.name.removesuffix(SUFFIX): read(file) for file in files}


def finished(workdir: Path) -> bool:
  """Tells whether a run was trained to the end and evaluated."""
  file = workdir / 'evaluations.jsonl'
  if not file.exists():
    return False
  lines = [json.loads(line) for line in file.read_text().splitlines()]
  return any(line['policy'] == TRAINED for line in lines)
