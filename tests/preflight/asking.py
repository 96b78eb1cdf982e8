"""Checks of tiny runs on `track`, or on other environments."""

import ast
from typing import NamedTuple

from dreamer_nnx import config as configs
from dreamer_nnx import overrides
from dreamer_nnx.preflight import Request, report
from tests.launcher import TINY


class Answer(NamedTuple):
  """Exit status, and all that was printed as one line."""

  status: int
  text: str


def config_of(**changes):
  """The tiny config; `changes` name fields, `__` for dots."""
  config = overrides.load_file('demo')
  fields = {path.removeprefix('config.'): x for path, x in TINY.items()}
  read = lambda x: ast.literal_eval(x) if isinstance(x, str) else x
  configs.apply(config, {path: read(x) for path, x in fields.items()})
  changes = {name.replace('__', '.'): x for name, x in changes.items()}
  configs.apply(config, {'train.save_every': 20} | changes)
  return configs.resolve(config)


def check(changes=None, **request):
  """Checks a run of the tiny config, with changes."""
  lines = []
  config = config_of(**(changes or {}))
  status = report(Request(config, **request), lines.append)
  return Answer(status, ' '.join(' '.join(lines).split()))
