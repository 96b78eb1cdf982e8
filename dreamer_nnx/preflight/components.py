"""Names in a config: plugins, and the packages of its components."""

from collections.abc import Iterator
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx.errors import UserError
from dreamer_nnx.plugins import module_of
from dreamer_nnx.preflight.table import ERROR, WARNING, Row
from dreamer_nnx.registry import Choice, Part


def calls(spec: Any) -> Iterator[Choice | Part]:
  """All that is built of a bound config, or of a part of it."""
  if isinstance(spec, configs.Bound):
    spec = tuple(spec.values())
  if isinstance(spec, tuple):
    for item in spec:
      yield from calls(item)
  elif isinstance(spec, Choice | Part):
    yield spec
    yield from calls(tuple(spec.values().values()))


def plugins(parts: configs.Bound) -> Iterator[Row]:
  """A row for the plugins, all imported; one for each that nothing reads."""
  names = parts['plugins']
  if names:
    yield Row('plugins', f'{", ".join(names)}: imported')
  used = set(_modules(parts))
  for name in names:
    module = module_of(name)
    # What it registers may be in a module beside it.
    package = module.rpartition('.')[0] or module
    if not any(f'{one}.'.startswith(f'{package}.') for one in used):
      yield Row(
        'plugins',
        f'config.plugins: the config chooses nothing that {name!r} registers.',
        WARNING,
        'Choose it; --mode=list names what there is. Or leave the plugin out.',
      )


def _modules(parts: configs.Bound) -> Iterator[str]:
  """The modules of what is built, and those that fields name."""
  for call in calls(parts):
    yield call.builder.__module__
    for value in call.values().values():
      if isinstance(value, str) and ':' in value:
        yield value.partition(':')[0]


def packages(parts: configs.Bound) -> Iterator[Row]:
  """A row for each component that lacks a package."""
  for call in calls(parts):
    try:
      getattr(call.builder, 'check_packages', lambda: None)()
    except UserError as error:
      yield Row('packages', str(error.within(call.path)), ERROR)
