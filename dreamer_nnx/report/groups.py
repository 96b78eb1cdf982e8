"""Groups of runs: those whose configs are equal but for the seed."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from dreamer_nnx.report.runs import Run

SEED = 'seed'
# Characters of a value, and of a name of a group.
VALUE, LONGEST = 30, 70
HERE = '{workdir}'


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that are repetitions of each other.

  Args:
    name: What differs from the other groups.
    runs: In the order of their seeds.
  """

  name: str
  runs: Sequence[Run]

  @property
  def config(self) -> Mapping[str, Any]:
    """The fields that its runs share, by path."""
    return fields(self.runs[0])


def make(runs: Sequence[Run]) -> list[Group]:
  """Groups runs, in the order of the first of each.

  A run whose config is not known is a group of its own.
  """
  alike: dict[Any, list[Run]] = defaultdict(list)
  for run in runs:
    known = tuple(sorted((k, repr(v)) for k, v in fields(run).items()))
    alike[known or run.name].append(run)
  groups = [sorted(found, key=seed) for found in alike.values()]
  named = zip(_names(groups), groups, strict=True)
  return [Group(name, found) for name, found in named]


def seed(run: Run) -> int:
  """The seed of a run; -1 if it is not known."""
  value = run.config.get(SEED)
  return value if type(value) is int else -1


def seed_problems(group: Group) -> list[str]:
  """Says which seeds of a group are there more than once."""
  seeds = [seed(run) for run in group.runs]
  twice = sorted({x for x in seeds if seeds.count(x) > 1 and x >= 0})
  return [
    f'{group.name}: {seeds.count(x)} runs have seed {x}, so they are not '
    'independent of each other.'
    for x in twice
  ]


def fields(run: Run) -> dict[str, Any]:
  """The config of a run without its seed and the name of its workdir."""
  name = re.escape(run.workdir.name)
  pattern = re.compile(rf'(?<![^/]){name}(?![^/])') if name else None

  def neutral(value: Any) -> Any:
    if isinstance(value, tuple):
      return tuple(map(neutral, value))
    if pattern and isinstance(value, str) and '/' in value:
      return pattern.sub(HERE, value)
    return value

  return {k: neutral(v) for k, v in run.config.items() if k != SEED}


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
  """Paths of the fields that are not alike in all configs that are known.

  Fields that all have come before those that some have.
  """
  configs = [config for config in configs if config]
  paths = dict.fromkeys(path for config in configs for path in config)
  values = {path: {repr(c.get(path)) for c in configs} for path in paths}
  found = [path for path in paths if len(values[path]) > 1]
  return sorted(found, key=lambda path: any(path not in c for c in configs))


def _names(groups: Sequence[Sequence[Run]]) -> list[str]:
  if len(groups) == 1:
    runs = groups[0]
    several = f'{len(runs)} seeds of {_common(runs)}'
    return [runs[0].name if len(runs) == 1 else several]
  configs = [fields(runs[0]) for runs in groups]
  names = [runs[0].name for runs in groups]
  paths, said = differing(configs), [''] * len(groups)
  for path in paths:
    name = _short(path, paths)
    own = [f'{name}={_shown(x[path])}' if path in x else '' for x in configs]
    pairs = zip(said, own, strict=True)
    longer = [', '.join(filter(None, pair)) for pair in pairs]
    # What tells no two of them apart is not worth saying.
    said = longer if len(set(longer)) > len(set(said)) else said
  pairs = zip(said, names, strict=True)
  names = [x[:LONGEST] if x else name for x, name in pairs]
  counted = [(name, names[:i].count(name)) for i, name in enumerate(names)]
  return [f'{name} ({n + 1})' if n else name for name, n in counted]


def _common(runs: Sequence[Run]) -> str:
  """The beginning that the names of runs share."""
  first, last = min(run.name for run in runs), max(run.name for run in runs)
  pairs = enumerate(zip(first, last, strict=False))
  end = next((i for i, (a, b) in pairs if a != b), len(first))
  return first[:end].rstrip('/_-. ') or 'one config'


def _short(path: str, paths: Sequence[str]) -> str:
  """The last name of a path, with the one before where others end alike."""
  parts = path.split('.')
  alike = sum(other.rpartition('.')[2] == parts[-1] for other in paths) > 1
  tag = parts[-1] in ('name', 'names')
  return '.'.join(parts[-2:] if alike or tag else parts[-1:])


def _shown(value: Any) -> str:
  text = str(value)
  return text if len(text) <= VALUE else f'{text[: VALUE - 1]}…'
