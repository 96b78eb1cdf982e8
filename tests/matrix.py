"""Runs `make test` in fresh clones, with several Pythons; writes a table.

  make matrix PYTHONS='python3.11 python3.13'

Each Python gets a clone of what is committed, an environment of its lock file
and all tests; `docs/matrix.md` gets a row for each, and keeps the rows of other
versions. Exits with 1 if anything failed. Needs only the standard library.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLE = ROOT / 'docs' / 'matrix.md'
PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'gymnasium', 'numpy')
COLUMNS = ('Python', *PACKAGES, 'passed', 'failed', 'seconds', 'commit')
HEAD = """\
# Versions

The last results of `make matrix`: `make test` in a fresh clone, with the lock
file for each Python. Seconds are of the tests alone, on two CPU cores.
"""
ASK = """
import importlib.metadata, platform, sys
print(platform.python_version(), *map(importlib.metadata.version, sys.argv[1:]))
"""


def main(pythons: list[str]) -> int:
  """Tests each, writes the table, and returns the exit status."""
  if not pythons:
    print("Name interpreters: make matrix PYTHONS='python3.11 python3.13'")
    return 2
  status = 0
  for python in pythons:
    try:
      with tempfile.TemporaryDirectory(prefix='matrix-') as folder:
        row = tried(python, pathlib.Path(folder) / 'clone')
    except RuntimeError as error:
      print(error)
      status = 1
      continue
    print(*row)
    status |= row[COLUMNS.index('failed')] != '0'
    old = TABLE.read_text('utf-8') if TABLE.exists() else ''
    TABLE.write_text(merged(old, row), 'utf-8')
  return status


def tried(python: str, clone: pathlib.Path) -> list[str]:
  """The row of one interpreter.

  Raises:
    RuntimeError: There is no such interpreter, or no environment for it.
  """
  said(['git', 'clone', '--quiet', str(ROOT), str(clone)], ROOT)
  commit = said(['git', 'rev-parse', '--short', 'HEAD'], clone).strip()
  said(['make', 'venv', f'PYTHON={python}'], clone)
  versions = said(
    [str(clone / '.venv/bin/python'), '-c', ASK, *PACKAGES], clone
  )
  start = time.perf_counter()
  tests = subprocess.run(
    ['make', 'test'], cwd=clone, env=env(), stdout=subprocess.PIPE, text=True
  )
  seconds = round(time.perf_counter() - start)
  print(tests.stdout)
  passed, failed = counts(tests.stdout)
  if tests.returncode and not failed:
    raise RuntimeError(f'{python}: make test ended with {tests.returncode}')
  return [*versions.split(), str(passed), str(failed), str(seconds), commit]


def said(command: list[str], folder: pathlib.Path) -> str:
  """What a command prints; RuntimeError, with all of it, if it fails."""
  done = subprocess.run(
    command, cwd=folder, env=env(), capture_output=True, text=True
  )
  if done.returncode:
    text = f'{done.stdout}{done.stderr}'.strip()
    raise RuntimeError(f'{" ".join(command)}:\n{text}')
  return done.stdout


def env() -> dict[str, str]:
  """The environment without what a make around this was given."""
  return {
    k: v for k, v in os.environ.items() if not k.startswith(('MAKE', 'MFLAGS'))
  }


def counts(text: str) -> tuple[int, int]:
  """Tests passed, and those failed or in error, by pytest's last line."""
  lines = [
    line for line in text.splitlines() if re.search(r' in [\d.]+s', line)
  ]
  found = dict(
    (kind, int(number))
    for number, kind in re.findall(
      r'(\d+) (passed|failed|error)', lines[-1] if lines else ''
    )
  )
  return found.get('passed', 0), found.get('failed', 0) + found.get('error', 0)


def merged(old: str, row: list[str]) -> str:
  """The table with this row instead of the one of the same Python, 3.x."""
  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in old.splitlines()
    if line.startswith('| 3.')
  ]
  minor = lambda cells: int(cells[0].split('.')[1])
  rows = [other for other in rows if minor(other) != minor(row)]
  table = [
    list(COLUMNS),
    ['---'] * len(COLUMNS),
    *sorted([*rows, row], key=minor),
  ]
  lines = ['| ' + ' | '.join(cells) + ' |' for cells in table]
  return HEAD + '\n' + '\n'.join(lines) + '\n'


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
