"""Configs for Python: from a file or a shipped name, with changes."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import overrides as flags
from dreamer_nnx.errors import UserError

Changes = Mapping[str, Any] | Iterable[str]


def load_config(path_or_name: str, overrides: Changes = ()) -> ConfigDict:
  """Loads a config, to train with `Run`.

    load_config('demo')
    load_config('demo:12m', {'train.steps': 1_000, '**.units': 64})
    load_config('configs/mine.py', ['env.gymnasium.id=Acrobot-v1'])

  Args:
    path_or_name: A file with a function `get_config`, or the name of a config
      that the package brings; behind a colon the argument of that function, a
      size as a rule.
    overrides: Values by path, in which `*` stands for one name and `**` for any
      number of them; or texts `path=value`, as flags have them. Plugins and
      names of components come first, whatever their order.

  Returns:
    All fields, typed and locked: a mistyped name is an error.

  Raises:
    UserError: There is no such config or field, or a value does not fit it.
  """
  if isinstance(overrides, str):
    raise UserError(
      'must be a dict of values by path, or a list of texts path=value.',
      'overrides',
      overrides,
    )
  if isinstance(overrides, Mapping):
    change = lambda config: configs.apply(config, overrides, 'overrides')
    return flags.load_file(str(path_or_name), None, change)
  argv = [f'--config.{change}' for change in overrides]
  # Before the file, which may set fields of what they bring.
  configs.load_plugins(flags.plugins_from_argv(argv))
  change = functools.partial(_override, argv)
  return flags.load_file(str(path_or_name), None, change)


def _override(argv: list[str], config: ConfigDict) -> None:
  rest = flags.override(config, argv)
  if rest:
    raise UserError('must be path=value.', 'overrides', rest[0])
