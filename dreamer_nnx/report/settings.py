"""The configs of runs: what is not as by default, and all fields."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx.report import groups as grouping
from dreamer_nnx.report.groups import Group
from dreamer_nnx.report.runs import leaves
from dreamer_nnx.report.sections import Section, Table

PLUGINS, UNKNOWN, ABSENT = 'plugins', 'not known', ''
LONGEST = 200
TEXT = (
  'Fields of the resolved config that are not as by default, or not alike in '
  'all groups. The default is that of the package, without any config file.'
)
UNTRUSTED = (
  'A config names plugins, which were not imported: the defaults of what they '
  'bring are not known. --trust_config imports them; do so only where you '
  'trust whoever made it.'
)


def section(groups: Sequence[Group], trust: bool) -> Section | None:
  """Configs of groups beside the default; None if none is known.

  Args:
    trust: Whether plugins that configs name may be imported.

  Raises:
    UserError: A plugin cannot be imported.
  """
  groups = [group for group in groups if group.config]
  if not groups:
    return None
  plugins = sorted({name for group in groups for name in _plugins(group)})
  default = defaults(plugins if trust else ())
  every = [group.config for group in groups]
  paths = sorted({*grouping.differing(every), *changed(every, default)})
  text = f'{TEXT}\n{UNTRUSTED}' if plugins and not trust else TEXT
  head = ('field', 'default', *(group.name for group in groups))
  rows = [list(_row(path, default, every)) for path in paths]
  whole = [
    Table(
      ('field', 'value'),
      [(path, shown(value)) for path, value in sorted(group.config.items())],
      title=f'All fields: {group.name}',
      folded=True,
    )
    for group in groups
  ]
  return Section('Config', text, tables=[Table(head, rows), *whole])


def defaults(plugins: Sequence[str]) -> dict[str, Any]:
  """Path to value of every field that there is, of all components."""
  return dict(leaves(configs.generate(plugins=plugins).to_dict()))


def changed(
  every: Sequence[Mapping[str, Any]], default: Mapping[str, Any]
) -> set[str]:
  """Paths of fields that any config has otherwise than by default."""
  return {
    path
    for config in every
    for path, value in config.items()
    if path not in default or repr(default[path]) != repr(value)
  }


def shown(value: Any) -> str:
  """A value as text of limited length."""
  text = repr(value) if isinstance(value, str) else str(value)
  return text if len(text) <= LONGEST else f'{text[: LONGEST - 1]}…'


def _row(
  path: str, default: Mapping[str, Any], every: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
  yield path
  yield shown(default[path]) if path in default else UNKNOWN
  for config in every:
    yield shown(config[path]) if path in config else ABSENT


def _plugins(group: Group) -> list[str]:
  named = group.config.get(PLUGINS, ())
  named = named if isinstance(named, tuple) else ()
  return [name for name in named if isinstance(name, str)]
