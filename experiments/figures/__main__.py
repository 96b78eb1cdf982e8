"""Makes the figures of the documentation, from the logs of runs.

python -m experiments.figures [NAME ...]
python -m experiments.figures --list
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dreamer_nnx import explaining
from experiments.figures import learning, openloop
from experiments.jobs.launching import ROOT

# Modules with `files`, which are below FOLDER, and `make`.
FIGURES = {'learning': learning, 'openloop': openloop}
FOLDER = ROOT / 'docs'


def main(argv: Sequence[str]) -> int:
  """Makes the figures of the names; returns the exit status."""
  parser = argparse.ArgumentParser('experiments.figures')
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--list', action='store_true', help='and make nothing')
  parser.add_argument('--folder', type=Path, default=FOLDER, help='of them')
  options = parser.parse_args(argv)
  if unknown := set(options.names) - set(FIGURES):
    known = ', '.join(FIGURES)
    parser.error(f'no such figures: {", ".join(unknown)}. Known: {known}.')
  for name in options.names or FIGURES:
    figures = FIGURES[name]
    print(f'{name}: {", ".join(figures.files())}\n  {figures.__doc__}')
    try:
      if not options.list:
        figures.make(options.folder)
    except Exception as error:
      if not explaining.expected(error):
        raise
      print(explaining.explain(error), file=sys.stderr)
      return 1
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
