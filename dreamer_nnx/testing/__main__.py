"""Checks of all components, and files for new ones.

  python -m dreamer_nnx.testing                 checks all that is registered
  python -m dreamer_nnx.testing check [WORD...]   those whose line has the words
  python -m dreamer_nnx.testing new SLOT NAME [--folder .]   writes a component
  python -m dreamer_nnx.testing new env NAME --remote   with a server for it

  --plugins a,b   modules or entry points whose components are checked too

The exit status is 1 if something fails.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dreamer_nnx.errors import UserError
from dreamer_nnx.plugins import load_plugins
from dreamer_nnx.slots import SLOTS
from dreamer_nnx.testing import entries, new, pairs

# None in place of a check that needs a package which is not installed.
Line = tuple[str, Callable[[], object] | None]


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a command; returns the exit status."""
  options = _parser().parse_args(argv)
  try:
    if options.command == 'new':
      folder, remote = Path(options.folder), options.remote
      paths = new.write(options.slot, options.name, folder, remote)
      print(*paths, f'Next: pytest {paths[-1]}', sep='\n')
      return 0
    load_plugins(filter(None, options.plugins.split(',')))
  except UserError as error:
    print(error, file=sys.stderr)
    return error.status
  return check(getattr(options, 'words', ()))


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m dreamer_nnx.testing',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--plugins', default='')
  commands = parser.add_subparsers(dest='command')
  checked = commands.add_parser('check')
  checked.add_argument('words', nargs='*')
  added = commands.add_parser('new')
  added.add_argument('slot', metavar='SLOT', help=', '.join(new.PATHS))
  added.add_argument('name', metavar='NAME')
  added.add_argument('--folder', default='.')
  told = 'an environment in another process, with its server'
  added.add_argument('--remote', action='store_true', help=told)
  return parser


def lines() -> Iterator[Line]:
  """Everything that is checked, and how."""
  for slot in SLOTS:
    for name in slot.names():
      package, title = entries.missing(slot.name, name), f'{slot.name} {name}'
      if package:
        yield f'check {title} needs {package}', None
      else:
        yield f'check {title}', lambda s=slot, n=name: _entry(s, n)
  for case in pairs.cases():
    yield f'train {case.title}', lambda case=case: pairs.train(case)


def _entry(slot, name: str) -> None:
  with tempfile.TemporaryDirectory() as folder:
    entries.run(slot.name, name, Path(folder))


def check(words: Sequence[str]) -> int:
  """Prints a table of what was checked; returns 1 if something failed."""
  failed = count = 0
  for title, function in lines():
    if not all(word in title.split() for word in words):
      continue
    if function is None:
      print(f'{title}, which is not installed: left out')
      continue
    count += 1
    begin, result = time.monotonic(), 'ok'
    try:
      function()
    except Exception as error:
      failed += 1
      result = f'{type(error).__name__}: {error}'
      if not isinstance(error, AssertionError | UserError):
        traceback.print_exc()
    print(f'{title:50} {time.monotonic() - begin:6.1f} s  {result}', flush=True)
  print(f'{count - failed} of {count} keep their promises.')
  return int(failed > 0)


if __name__ == '__main__':
  sys.exit(main())
