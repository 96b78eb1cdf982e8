"""The command line of a config: `--config=NAME[:ARG] --config.a.b=value`.

Every override is checked against the tree before any is applied, so that what
is wrong is said by path. `--noconfig.a.b` is `--config.a.b=false`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dreamer_nnx import compat, nodes
from dreamer_nnx import config as tree_of
from dreamer_nnx.config_files import load_file as load_file
from dreamer_nnx.flagvalues import as_int_hint, elements, literal
from dreamer_nnx.nodes import ConfigError
from dreamer_nnx.registry import Choice, Choices, Part, cast, suggest
from dreamer_nnx.schema import wanted

FLAG = re.compile(r'--?(no)?config\.([^=]*)(?:=(.*))?', re.DOTALL)
BOOLS = {
  'true': True,
  't': True,
  '1': True,
  'false': False,
  'f': False,
  '0': False,
}


def plugins_from_argv(argv: Sequence[str]) -> tuple[str, ...]:
  """The value of `--config.plugins`, needed before the tree is generated."""
  return tuple(map(str, named(argv).get('plugins', ())))


def named(argv: Sequence[str]) -> dict[str, Any]:
  """Path to value of the flags of `argv`, read without a config.

  Names of components and plugins are as the config will have them; any other
  value is its text, or True for a switch.
  """
  result = {}
  for path, text, *_ in _flags(argv):
    many = path == 'plugins' or path.endswith('.names')
    value = True if text is None else text
    result[path] = tuple(map(str, elements(text or ''))) if many else value
  return result


def override(
  config: ConfigDict, argv: Sequence[str], tree: Mapping | None = None
) -> list[str]:
  """Sets what the flags of `argv` say and returns the other arguments.

  Raises:
    ConfigError, RegistryError: As `check_overrides`; nothing has been set.
  """
  draft, _ = _drafted(config, argv, tree)
  with config.unlocked():
    config.update(draft)
  return without_overrides(argv, config)


def without_overrides(
  argv: Sequence[str], config: ConfigDict | None = None
) -> list[str]:
  """The arguments that are no overrides, nor values of them."""
  is_switch = lambda path: bool(config) and _is_switch(config, path)
  taken = {i for flag in _flags(argv, is_switch) for i in flag.places}
  return [arg for i, arg in enumerate(argv) if i not in taken]


def check_overrides(
  config: ConfigDict, argv: Sequence[str], tree: Mapping | None = None
) -> dict[str, Any]:
  """Path to value of every override in `argv`; sets nothing.

  Raises:
    ConfigError: A path is no field of the config, or a text not of its type.
    RegistryError: A name is not registered.
  """
  return _drafted(config, argv, tree)[1]


def _drafted(
  config: ConfigDict, argv: Sequence[str], tree: Mapping | None
) -> tuple[ConfigDict, dict[str, Any]]:
  tree = tree_of.sections() if tree is None else tree
  draft, values = config.copy_and_resolve_references(), {}
  flags = [
    flag._replace(path=_today(config, flag.path), old=flag.path)
    for flag in _flags(argv, lambda path: _is_switch(config, path))
  ]
  moved = [flag.old for flag in flags if flag.old != flag.path]
  compat.warn(moved, 'the command line')
  # Names first, outermost first: a name that had no branch of fields, such as
  # `package.module:attribute`, brings one for the other flags.
  tags = ('.name', '.names')
  flags.sort(key=lambda f: (not f.path.endswith(tags), f.path.count('.')))
  for flag in flags:
    names = compat.listed(flag.old, tree_of.leaves(draft)) if moved else {}
    draft.update_from_flattened_dict(names)
    values |= names
    values[flag.path] = _checked(flag, draft, tree)
    draft.update_from_flattened_dict({flag.path: values[flag.path]})
  return draft, values


class _Flag(NamedTuple):
  path: str
  text: str | None
  negated: bool
  places: tuple[int, ...]
  old: str = ''


class _Place(NamedTuple):
  """A node of the config, its spec and path, and whose fields it holds."""

  node: Any
  spec: Any
  path: str = 'config'
  owner: str = ''


def _flags(
  argv: Sequence[str], is_switch: Callable[[str], bool] = lambda path: False
) -> Iterator[_Flag]:
  index = 0
  while index < len(argv) and argv[index] != '--':
    places = (index,)
    match = FLAG.fullmatch(argv[index])
    if match:
      negated, path, text = match.groups()
      if text is None and not negated and not is_switch(path):
        places = (index, index + 1)[: len(argv) - index]
        if len(places) == 2 and FLAG.fullmatch(argv[index + 1]):
          places = (index,)
        text = argv[index + 1] if len(places) == 2 else None
      yield _Flag(path, text, bool(negated), places)
    index = places[-1] + 1


def _is_switch(config: ConfigDict, path: str) -> bool:
  return isinstance(tree_of.leaves(config).get(_today(config, path)), bool)


def _today(config: ConfigDict, path: str) -> str:
  """The path of a field whose section may have been elsewhere."""
  node: Any = config
  for key in compat.start(path).split('.'):
    if not isinstance(node, ConfigDict) or key not in node:
      return compat.path(path)
    node = node[key]
  return path


def _checked(flag: _Flag, config: ConfigDict, tree: Mapping) -> Any:
  where = f'config.{flag.path}'
  *sections, key = flag.path.split('.')
  place = _Place(config, tree)
  for section in sections:
    place = _enter(place, section, flag.path)
  node = _enter(place, key, flag.path).node
  if isinstance(node, ConfigDict):
    field = next((k for k in ('name', 'names') if k in node), 'FIELD')
    raise ConfigError(
      f'is a section. Set its fields, as in --{where}.{field}=VALUE.', where
    )
  value = _parse(flag, node, where)
  if isinstance(place.spec, Choice | Choices) and key in ('name', 'names'):
    names = (value,) if key == 'name' else value
    tree_of.check_names(place.spec.slot, names, where)
    for name in names:
      _open(place, Choice(place.spec.slot, name))
  return value


def _enter(place: _Place, key: str, path: str) -> _Place:
  """The node of this name in another one, whose fields are in effect."""
  where = f'config.{path}'
  if not isinstance(place.node, ConfigDict):
    raise ConfigError(
      f'{place.path} is {wanted(place.node)}, not a section.', where
    )
  spec, owner = place.spec, place.owner
  if isinstance(spec, Part):
    spec, owner = spec.values(), spec.builder.__name__
  if isinstance(spec, Choice | Choices):
    inside = nodes.inside(spec, place.node)
    if key in place.node and key in inside:
      fields = nodes.branches(spec, place.node).get(key)
      owner = fields.builder.__name__ if fields else owner
      return _Place(place.node[key], inside[key], f'{place.path}.{key}', owner)
  elif key in place.node:
    return _Place(place.node[key], spec[key], f'{place.path}.{key}', owner)
  raise ConfigError(_complaint(place, owner, key, path), where)


def _open(place: _Place, choice: Choice) -> None:
  """Gives the node a branch for the fields of a choice."""
  if choice.branch not in place.node:
    with place.node.unlocked():
      place.node[choice.branch] = tree_of.node(choice)[choice.branch]


def _complaint(place: _Place, owner: str, key: str, path: str) -> str:
  """Says why a node has no such key, and what was probably meant."""
  what = f'{owner} has no such field.'
  if isinstance(place.spec, Choice | Choices):
    slot = place.spec.slot
    if key in nodes.branches(place.spec, place.node) or key in place.node:
      return _not_chosen(place, key)
    what = f'no {slot.name} is named {key!r}.'
    if key in ('name', 'names'):
      return f'{what} Did you mean {nodes.tag_of(place.spec)!r}?'
  elif not owner:
    what = 'there is no such section.'
  rest = f'config.{path}'.removeprefix(f'{place.path}.')
  if found := _field_named(place, rest, key):
    path, comma, setting = found.partition(',')
    return f'{what} Did you mean {path!r}{comma}{setting}?'
  return what + suggest(key.lower(), place.node.keys())


def _not_chosen(place: _Place, key: str) -> str:
  chosen = nodes.chosen(place.spec, place.node)
  if key not in place.spec.slot.names():
    names = ', '.join(map(repr, chosen)) or 'none'
    return f'{key!r} is not chosen, but {names}.'
  value = key
  if isinstance(place.spec, Choices):
    value = repr(','.join((*chosen, key)))
  tag = nodes.tag_of(place.spec)
  return f'{key!r} is not chosen. Set --{place.path}.{tag}={value}, too.'


def field_in(config: ConfigDict, word: str) -> str:
  """The path of the field whose path ends so, and what else it needs."""
  return _field_named(_Place(config, tree_of.sections()), word)


def _field_named(place: _Place, *words: str) -> str:
  """The path of the field in a node that ends so; empty if none does.

  Of one that is not in effect the text says what to set for that.

  Args:
    words: Ends of a path; the first that is found counts.
  """
  ends = tuple(f'.{word}' for word in words)
  effective = list(nodes.effective(place.spec, place.node))
  for paths in (effective, list(tree_of.leaves(place.node))):
    for end in ends:
      if found := [p for p in paths if f'.{p}'.endswith(end)]:
        path = f'{place.path}.{min(found, key=lambda p: p.count("."))}'
        return path + _needed(place, path)
  return ''


def _needed(place: _Place, path: str) -> str:
  """Says what else a field of a branch that is not chosen needs."""
  node, spec, where = place.node, place.spec, place.path
  for key in path.removeprefix(f'{where}.').split('.'):
    if isinstance(spec, Choice | Choices) and key in node:
      inside = nodes.inside(spec, node)
      if key not in inside:
        here = _Place(node, spec, where)
        setting = _not_chosen(here, key).partition(' Set ')[2]
        return f', with {setting.removesuffix(", too.")}' if setting else ''
      spec = inside[key]
    else:
      spec = (spec.values() if isinstance(spec, Part) else spec)[key]
    node, where = node[key], f'{where}.{key}'
  return ''


def _parse(flag: _Flag, default: Any, where: str) -> Any:
  text, kind = flag.text, type(default)
  if flag.negated or kind is bool:
    return _switch(flag, kind, where)
  if text is None:
    raise ConfigError(f'has no value. Write --{where}=VALUE.', where)
  if kind is tuple:
    found = elements(text)
    if default and not isinstance(default[0], str):
      # One that is not of the type leaves the others what they are.
      found = tuple(map(literal, found))
    return cast(found, default, where)
  try:
    return kind(text)
  except ValueError as error:
    hint = as_int_hint(text) if kind is int else ''
    raise ConfigError(
      f'must be {wanted(default)}{hint}.', where, text
    ) from error


def _switch(flag: _Flag, kind: type, where: str) -> bool:
  if kind is not bool:
    raise ConfigError('only a bool is switched off this way.', f'--no{where}')
  if flag.text is None:
    return not flag.negated
  if flag.negated or flag.text.lower() not in BOOLS:
    raise ConfigError('must be true or false.', where, flag.text)
  return BOOLS[flag.text.lower()]
