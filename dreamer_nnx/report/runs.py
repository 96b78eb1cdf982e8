"""The run of a workdir, from its files, without building anything."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dreamer_nnx import compat, paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.report import logs
from dreamer_nnx.report import videos as video_files
from dreamer_nnx.report.lines import Lines
from dreamer_nnx.report.logs import Log
from dreamer_nnx.report.videos import Video

METRICS, CONFIG, STARTS = 'metrics.jsonl', 'config.json', 'run.json'
EVALUATIONS = re.compile(r'evaluations(_\d+)?\.jsonl')
OURS = f'{METRICS}, evaluations.jsonl, {CONFIG}, checkpoints'
# Bytes of a file of JSON, fields of a config, evaluations of a run.
LARGEST, FIELDS, MOST = 10_000_000, 5_000, 50_000
# The last word of `policy` in a line, and the group of its metrics.
GROUPS = {'greedy': 'eval', 'sampled': 'eval_sampled'}


@dataclasses.dataclass(frozen=True)
class Run:
  """One workdir.

  Args:
    name: Of this run alone, for readers.
    log: `metrics.jsonl`.
    evaluations: Those of `evaluations.jsonl`, as metrics `eval/*` and
      `eval_sampled/*`.
    config: Path to value of every field of `config.json`.
    starts: `run.json`, the first start first.
    videos: The newest of each name.
    problems: What was wrong with the files, in sentences.
  """

  name: str
  workdir: paths.Path
  log: Log
  evaluations: Log
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  starts: Sequence[Mapping[str, Any]] = ()
  videos: Sequence[Video] = ()
  problems: Sequence[str] = ()

  @property
  def repeat(self) -> float:
    """Frames of an environment step, as logged; 1 if that is unknown."""
    points = self.log.curves.get(logs.FRAMES)
    if not points:
      return 1.0
    steps, frames = points.points(8)
    return float(frames[-1] / steps[-1]) if steps[-1] else 1.0


def read_all(workdirs: Sequence[paths.Path]) -> list[Run]:
  """Reads the runs of workdirs; of one that is named twice, once.

  Raises:
    UserError: One is no workdir.
    OSError: A file cannot be read.
  """
  workdirs = list(dict.fromkeys(workdirs))
  named = zip(workdirs, names(workdirs), strict=True)
  return [read(workdir, name) for workdir, name in named]


def names(workdirs: Sequence[paths.Path]) -> list[str]:
  """The ends of paths that tell them apart."""
  parts = [PurePosixPath(str(workdir)).parts for workdir in workdirs]
  for length in range(1, max(map(len, parts), default=0) + 1):
    found = ['/'.join(part[-length:]) for part in parts]
    if len(set(found)) == len(found):
      return found
  return [str(workdir) for workdir in workdirs]


def read(workdir: paths.Path, name: str) -> Run:
  """Reads the run of a workdir."""
  if not workdir.is_dir():
    what = 'is no folder' if workdir.exists() else 'does not exist'
    text = f'{what}. Name the workdir of a run.'
    raise UserError(text, '--workdir', str(workdir))
  problems: list[str] = []
  entries = [entry.name for entry in paths.entries(workdir)]
  evaluated = [x for x in entries if EVALUATIONS.fullmatch(x)]
  if not evaluated and not {METRICS, CONFIG, 'checkpoints'} & set(entries):
    text = f'is no workdir of a run: it has none of {OURS}.'
    raise UserError(text, '--workdir', str(workdir))
  log = Log()
  if file := _file(workdir, METRICS):
    log = logs.read(file)
  else:
    problems.append(f'There is no {METRICS}, so there are no curves.')
  files = [x for entry in evaluated if (x := _file(workdir, entry))]
  evaluations = _evaluations(files, problems)
  found, left_out = video_files.read(workdir)
  problems += _complaints(METRICS, log)
  problems += _complaints('evaluations.jsonl', evaluations)
  problems += [left_out] if left_out else []
  config = _config(workdir, problems)
  starts = _json(workdir, STARTS, list, problems)
  starts = [start for start in starts if isinstance(start, dict)]
  return Run(name, workdir, log, evaluations, config, starts, found, problems)


def _file(workdir: paths.Path, name: str) -> paths.Path | None:
  """A file of the workdir, if there is one; never one from elsewhere."""
  path = workdir / name
  if not path.is_file():
    return None
  if not paths.in_bucket(path):
    paths.check_link(path, workdir)
  return path


def _json(
  workdir: paths.Path, name: str, kind: type, problems: list[str]
) -> Any:
  """Reads a file of JSON; empty if it is not of the kind."""
  if not (path := _file(workdir, name)):
    return kind()
  if paths.size(path) > LARGEST:
    problems.append(f'{name} is too large to be one of a run: left out.')
    return kind()
  try:
    found = json.loads(paths.read(path))
  except (ValueError, RecursionError):
    found = None
  if not isinstance(found, kind):
    problems.append(f'{name} is damaged: left out.')
    return kind()
  return found


def _config(workdir: paths.Path, problems: list[str]) -> dict[str, Any]:
  saved = _json(workdir, CONFIG, dict, problems)
  try:
    found = dict(leaves(compat.config(saved)))
  # Old names where no such config has any.
  except (AttributeError, KeyError, TypeError, RecursionError):
    problems.append(f'{CONFIG} is not one of a run: left out.')
    return {}
  if len(found) > FIELDS:
    problems.append(f'{CONFIG} has {len(found)} fields: left out.')
    return {}
  return found


def leaves(tree: Mapping[str, Any], above: str = '') -> Iterator[tuple]:
  """Path and value of every field of a nested dict."""
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      yield from leaves(value, f'{above}{key}.')
    else:
      yield f'{above}{key}', plain(value)


def plain(value: Any) -> Any:
  """Turns lists into tuples, however deep."""
  if isinstance(value, list | tuple):
    return tuple(map(plain, value))
  return value


def _evaluations(files: Sequence[paths.Path], problems: list[str]) -> Log:
  """Evaluations in the order of their steps, the last of each step."""
  found: dict[tuple[int, str], dict[str, Any]] = {}
  log, incomplete, over = Log(), 0, 0
  for file in files:
    lines = Lines(file)
    for line in lines:
      incomplete += 'problem' in line
      step, policy = line.get(logs.STEP), str(line.get('policy', ''))
      group = GROUPS.get(policy.rpartition(', ')[2])
      if group is None or type(step) is not int:
        log.damaged += 1
      elif len(found) < MOST:
        found[step, group] = _metrics(line, group)
      else:
        over += 1
    log.damaged += lines.damaged
  for _, line in sorted(found.items(), key=lambda item: item[0]):
    log.add(line)
  if incomplete:
    problems.append(f'{incomplete} evaluations are incomplete.')
  if over:
    problems.append(f'{over} evaluations beyond {MOST} were left out.')
  return log


def _metrics(line: Mapping[str, Any], group: str) -> dict[str, Any]:
  """A line of evaluations as one of metrics."""
  values = {
    name.replace('eval', group, 1): value
    for name, value in line.items()
    if name.startswith('eval/')
  }
  counts = {name: line[name] for name in (logs.FRAMES,) if name in line}
  return {logs.STEP: line[logs.STEP]} | counts | values


def _complaints(file: str, log: Log) -> Iterator[str]:
  if log.damaged:
    yield f'{log.damaged} damaged lines of {file} were left out.'
  if log.refused:
    yield f'{log.refused} values in {file} are no numbers and were left out.'
