"""Runs for the tests that train nothing."""

import sys
from collections.abc import Sequence
from pathlib import Path

FIELD = 'config.optimizer.dreamer.lr'
# A learning rate at which a run fails.
BAD = 7.0
SCRIPT = f"""
import json, pathlib, sys
flags = dict(x.removeprefix('--').split('=', 1) for x in sys.argv[1:])
rate, seed = float(flags['{FIELD}']), int(flags['config.seed'])
for i in range(99):
  print('line', i)
if rate == {BAD}:
  sys.exit('no luck')
workdir = pathlib.Path(flags['workdir'])
workdir.mkdir(parents=True)
value = 1000 * rate + seed
end = {{'episode/return': value, 'episode/count': 1}}
line = {{'policy': 'trained, greedy', 'eval/return': 10 * value}}
for name, more in ('metrics', end), ('evaluations', line):
  text = json.dumps({{'env_steps': 60}} | more)
  (workdir / (name + '.jsonl')).write_text(text)
"""


def command(
  config: str, workdir: Path, mode: str, flags: Sequence[str]
) -> list[str]:
  """Replaces `runs.command`: a script that logs the end of a run alone."""
  del config, mode
  fields = [f'--workdir={workdir}', *flags]
  return [sys.executable, '-c', SCRIPT, *fields]


def report_command(workdirs: Sequence[Path], output: Path) -> list[str]:
  """Replaces `table.report_command`: it writes the names of the runs."""
  script = 'import sys; open(sys.argv[1], "w").write(sys.argv[2])'
  names = ' '.join(f'{x.parent.name}/{x.name}' for x in workdirs)
  return [sys.executable, '-c', script, str(output), names]
