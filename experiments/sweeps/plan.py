"""The plan of a sweep: its runs, their names, and the file that keeps them."""

import contextlib
import dataclasses
import fcntl
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dreamer_nnx import flagvalues, paths, shipped
from dreamer_nnx.errors import UserError

FILE, LOCK = 'sweep.json', '.sweep.lock'
FORMAT = 1
# The name of the only setting where no field is varied.
PLAIN = 'plain'
# Letters of the name of a folder; most file systems allow 255 bytes.
LONGEST = 200
# From a field and its values, in the order of the flags.
Varied = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Run:
  """One run: a setting, which is the name of its folder, and a seed.

  Args:
    flags: That the setting consists of.
  """

  setting: str
  seed: int
  flags: tuple[str, ...]

  @property
  def name(self) -> str:
    return f'{self.setting}/{self.seed}'


@dataclasses.dataclass(frozen=True)
class Plan:
  """All runs of a sweep.

  Args:
    config, mode: Of every run.
    flags: Of every run, beside those of its setting.
    runs: In the order in which they were planned; indices stay.
  """

  config: str
  mode: str
  flags: tuple[str, ...]
  runs: tuple[Run, ...]

  @property
  def settings(self) -> dict[str, tuple[str, ...]]:
    """The flags of each setting, in order."""
    return {run.setting: run.flags for run in self.runs}


def make(
  config: str,
  mode: str,
  flags: Sequence[str],
  varied: Varied,
  seeds: Sequence[int],
) -> Plan:
  """Plans every combination of values with every seed, by seed first.

  Raises:
    UserError: There is no such config, or two combinations have one name.
  """
  settings = dict(combinations(varied))
  runs = [Run(name, s, settings[name]) for s in seeds for name in settings]
  return Plan(place(config), mode, tuple(flags), tuple(runs))


def place(config: str) -> str:
  """The name of a shipped config as it is, of any other the absolute path."""
  file = shipped.find(config)
  name, colon, argument = config.partition(':')
  known = name in shipped.shipped()
  return config if known else f'{file.absolute()}{colon}{argument}'


def combinations(varied: Varied) -> Iterator[tuple[str, tuple[str, ...]]]:
  """Name and flags of each combination of values.

  Raises:
    UserError: Two have the same name.
  """
  words, found = short_names(tuple(varied)), set()
  for values in itertools.product(*varied.values()):
    pairs = list(zip(varied, values, strict=True))
    name = ','.join(f'{words[path]}={in_folder(x)}' for path, x in pairs)
    name = name or PLAIN
    if name in found or len(name) > LONGEST:
      what = 'is of two combinations' if name in found else 'is too long'
      raise UserError(f'the folder {name!r} {what}.', '--set')
    found.add(name)
    yield name, tuple(f'--{path}={value}' for path, value in pairs)


def short_names(fields: Sequence[str]) -> dict[str, str]:
  """Ends of the paths of fields, as short as they differ."""
  names = {}
  for path in fields:
    parts = path.split('.')
    ends = ['.'.join(parts[-n:]) for n in range(1, len(parts) + 1)]
    alike = lambda end: sum(f'.{x}'.endswith(f'.{end}') for x in fields)
    names[path] = next(end for end in ends if alike(end) == 1 or end == path)
  return names


def in_folder(value: str) -> str:
  """A value without what the name of a folder should not have."""
  return re.sub(r'[^\w.+=-]+', '-', re.sub(r'[()\[\]{}\'"\s]', '', value))


def varied(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
  """Fields and values of every --set.

  Raises:
    UserError: One is not PATH=VALUE,VALUE, or says something twice.
  """
  found: dict[str, tuple[str, ...]] = {}
  for text in texts:
    path, equals, values = text.partition('=')
    if not re.fullmatch(r'config(\.\w+)+', path) or not equals:
      what = 'must be config.PATH=VALUE,VALUE, such as config.train.envs=1,8.'
      raise UserError(what, '--set', text)
    if path in found:
      raise UserError(f'{path} is varied twice.', '--set', text)
    found[path] = tuple(flagvalues.split(values))
    if not all(found[path]):
      raise UserError('a value is empty.', '--set', text)
    if len(set(found[path])) < len(found[path]):
      raise UserError('a value is there twice.', '--set', text)
  return found


def seeds(text: str) -> tuple[int, ...]:
  """Numbers with commas between them.

  Raises:
    UserError: One is no number from 0, or there twice.
  """
  words = [word.strip() for word in text.split(',')]
  if not all(re.fullmatch(r'[0-9]+', word) for word in words):
    raise UserError('must be numbers, such as 0,1,2.', '--seeds', text)
  numbers = tuple(map(int, words))
  if len(set(numbers)) < len(numbers):
    raise UserError('a seed is there twice.', '--seeds', text)
  return numbers


def load(root: Path) -> Plan | None:
  """The plan that a root has; None if it has none.

  Raises:
    UserError: The file is none, or of another version.
  """
  file = root / FILE
  try:
    found = json.loads(file.read_bytes())
    if found.pop('format') != FORMAT:
      raise UserError('is of another version.', str(file))
    runs = [run | {'flags': tuple(run['flags'])} for run in found.pop('runs')]
    found['flags'] = tuple(found['flags'])
    return Plan(**found, runs=tuple(Run(**run) for run in runs))
  except FileNotFoundError:
    return None
  except (ValueError, LookupError, TypeError, AttributeError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError('is no plan of a sweep.', str(file)) from error


def joined(root: Path, old: Plan | None, new: Plan) -> Plan:
  """The plan of a root with the runs that a new one adds.

  Raises:
    UserError: The new plan differs in more than added runs.
  """
  if old is None:
    return new
  hint = f'Choose another root, or remove {FILE}, and what is not wanted.'
  for field in ('config', 'mode', 'flags'):
    was, now = getattr(old, field), getattr(new, field)
    if was != now:
      raise UserError(
        f'has another plan: {field} is {was!r} there, not {now!r}. {hint}',
        f'--root={root}',
      )
  if lost := [run.name for run in old.runs if run not in new.runs]:
    raise UserError(
      f'has another plan, of {len(lost)} runs that are not asked for: '
      f'{", ".join(lost[:3])}{", ..." if lost[3:] else ""}. Ask for them, too. '
      f'{hint}',
      f'--root={root}',
    )
  added = tuple(run for run in new.runs if run not in old.runs)
  return dataclasses.replace(old, runs=(*old.runs, *added))


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
  """Waits for other programs that write files below a root."""
  with (root / LOCK).open('w') as lock:
    # Some network file systems have no locks.
    with contextlib.suppress(OSError):
      fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def store(root: Path, new: Plan) -> Plan:
  """Adds the runs of a plan to that of the root, and returns all.

  Raises:
    UserError: As `joined`.
  """
  root.mkdir(parents=True, exist_ok=True)
  with alone(root):
    plan = joined(root, load(root), new)
    text = json.dumps({'format': FORMAT} | dataclasses.asdict(plan), indent=2)
    paths.write(root / FILE, f'{text}\n'.encode())
  return plan
