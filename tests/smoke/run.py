"""Trains a tiny agent on a real suite, in a fresh environment of its extra.

  make smoke SUITE='atari dmc_vision'

Each suite gets an environment with the pinned versions and its own extra
alone, in which `tiny.py` trains for some updates and evaluates an episode.
Without a name all suites are tried. Ends with status 1 if one failed. Needs the
standard library and a package index alone.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The extra of each suite; '' for none.
SUITES = {
  'atari': 'atari',
  'atari100k': 'atari',
  'bsuite': 'bsuite',
  'box2d': 'box2d',
  'crafter': 'crafter',
  'dm_env': 'dm-env',
  'dmc_proprio': 'dmc',
  'dmc_vision': 'dmc',
  'gymnasium': '',
  'memory_maze': 'memory-maze',
  'minatar': 'minatar',
  'minigrid': 'minigrid',
  'mujoco': 'mujoco',
  'pinpad': '',
  'procgen': 'procgen',
}


def main(names: list[str]) -> int:
  """Tries each suite, prints a line for it, and returns the exit status."""
  status = 0
  unknown = sorted(set(names) - set(SUITES))
  if unknown:
    print(f'No suite {", ".join(unknown)}. There are: {", ".join(SUITES)}.')
    return 2
  for name in names or SUITES:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix='smoke-') as folder:
      fault = tried(name, pathlib.Path(folder))
    print(
      f'{name:12} {"FAILED" if fault else "passed"} '
      f'{time.perf_counter() - start:4.0f} s',
      flush=True,
    )
    if fault:
      print(fault, flush=True)
      status = 1
  return status


def tried(name: str, folder: pathlib.Path) -> str:
  """Sets up, trains and evaluates; what went wrong, or nothing."""
  made = [sys.executable, '-m', 'venv', str(folder / 'venv')]
  python = str(folder / 'venv' / 'bin' / 'python')
  extra = f'[{SUITES[name]}]' if SUITES[name] else ''
  lock = 'requirements' if sys.version_info < (3, 12) else 'requirements-newest'
  install = [python, '-m', 'pip', 'install', '--quiet', '-c', f'{lock}.lock']
  workdir = folder / 'run'
  train = [python, '-m', 'dreamer_nnx.main']
  train += [f'--config=tests/smoke/tiny.py:{name}', f'--workdir={workdir}']
  train += ['--mode=train_and_evaluate']
  for command in (made, [*install, '-e', f'.{extra}'], train):
    done = subprocess.run(
      command,
      cwd=ROOT,
      env=plain_env(),
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
    )
    if done.returncode:
      tail = '\n  '.join(done.stdout.splitlines()[-30:])
      return f'  {" ".join(command)} ended with {done.returncode}:\n  {tail}'
  return checked(workdir)


def checked(workdir: pathlib.Path) -> str:
  """Looks for updates and an evaluated episode in the log of a run."""
  text = (workdir / 'metrics.jsonl').read_text('utf-8')
  seen = {}
  for line in text.splitlines():
    seen.update(json.loads(line))
  if not seen.get('train/opt/updates'):
    return '  its log has no updates'
  if not isinstance(seen.get('eval/return'), int | float):
    return '  its log has no evaluated return'
  return ''


def plain_env() -> dict[str, str]:
  """Makes an environment without what would bring in other packages."""
  left_out = ('PYTHONPATH', 'VIRTUAL_ENV', 'MAKEFLAGS')
  kept = {k: v for k, v in os.environ.items() if k not in left_out}
  return kept | {'JAX_PLATFORMS': 'cpu', 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('suite', nargs='*', help='suites; all without one')
  sys.exit(main(parser.parse_args().suite))
