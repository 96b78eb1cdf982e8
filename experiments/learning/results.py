"""Logs of finished runs, kept compressed: what the page is made of.

The first line is the header, then come those of `events`, then evaluations.
"""

import dataclasses
import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.learning import events

FOLDER = Path(__file__).with_name('results')
SUFFIX = '.jsonl.xz'
COUNT = 'opt/param_count'
EVALUATIONS = 'evaluations.jsonl'
TRAINED = 'trained, greedy'


@dataclasses.dataclass(frozen=True)
class Result:
  """The log of a run.

  Args:
    header: What was run, on what, and how long it took: `task`, `agent`,
      `seed`, `settings`, `parameters`, `seconds`, `processor` (seconds of
      processors at work) and `starts`, the number of processes.
    events: See `events`.
    evaluations: (env_steps, mean return) of greedy evaluations.
  """

  header: dict[str, Any]
  events: list[dict[str, Any]]
  evaluations: list[tuple[int, float]]

  @property
  def episodes(self) -> tuple[list[int], list[float]]:
    """Steps at which training episodes ended, and their returns."""
    found = [x for x in self.events if 'return' in x]
    return [x['step'] for x in found], [x['return'] for x in found]


def name_of(task: str, agent: str, seed: int) -> str:
  return f'{task}_{agent}_{seed}'


def pack(workdir: Path, header: Mapping[str, Any], path: Path) -> None:
  """Compresses what a finished run has logged."""
  lines = events.read((workdir / events.FILE).read_text())
  starts = sum('start' in x for x in lines)
  header = {**header, 'starts': starts, 'parameters': parameters(workdir)}
  lines = [x for x in lines if 'start' not in x or x['start']]
  file = workdir / EVALUATIONS
  if file.exists():
    found = list(map(json.loads, file.read_text().splitlines()))
    # The last state is evaluated once more, at the end.
    greedy = {
      x['env_steps']: round(x['eval/return'], 3)
      for x in found
      if x['policy'] == TRAINED
    }
    lines += [{'step': k, 'greedy': v} for k, v in greedy.items()]
  text = '\n'.join(map(json.dumps, [header, *lines])) + '\n'
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_suffix('.part')
  draft.write_bytes(lzma.compress(text.encode(), preset=9))
  draft.rename(path)


def parameters(workdir: Path) -> int:
  """Trained parameters, as the agent itself logs them."""
  for line in (workdir / 'metrics.jsonl').read_text().splitlines():
    for name, value in json.loads(line).items():
      if name.endswith(COUNT):
        return int(value)
  return 0


def read(path: Path) -> Result:
  """Reads the log of a run."""
  text = lzma.decompress(path.read_bytes()).decode()
  header, *lines = map(json.loads, text.splitlines())
  greedy = [x for x in lines if 'greedy' in x]
  return Result(
    header,
    [x for x in lines if 'greedy' not in x],
    [(x['step'], x['greedy']) for x in greedy],
  )


def read_all(folder: Path = FOLDER) -> dict[str, Result]:
  """Reads every result, by the name of its run."""
  files = sorted(folder.glob(f'*{SUFFIX}'))
  return {file.name.removesuffix(SUFFIX): read(file) for file in files}
