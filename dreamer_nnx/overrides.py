"""The command line of a config: `--config=FILE[:ARG] --config.a.b=value`.

Every override is checked against the tree before any is applied, so that what
is wrong is said by path. `--noconfig.a.b` is `--config.a.b=false`.
"""

import ast
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dreamer_nnx import config as tree_of
from dreamer_nnx.config import ConfigError
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


def load_file(name: str) -> ConfigDict:
  """What `get_config(ARG)` of `FILE:ARG`, or `get_config()` of `FILE`, returns.

  Raises:
    ConfigError: There is no such file, or it has no such function.
  """
  path, colon, argument = name.partition(':')
  if not Path(path).is_file():
    raise ConfigError(f'--config = {name!r}: there is no file {path!r}.')
  spec = importlib.util.spec_from_file_location(Path(path).stem, path)
  if spec is None:
    raise ConfigError(f'--config = {name!r}: {path!r} is not a Python file.')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise ConfigError(f'--config = {name!r}: {path} has no get_config().')
  config = module.get_config(*([argument] if colon else []))
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f'--config = {name!r}: get_config() returned a {type(config).__name__}, '
      'not a ConfigDict.'
    )
  return config


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
    result[path] = tuple(map(str, _elements(text or ''))) if many else value
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
  flags = _flags(argv, lambda path: _is_switch(config, path))
  taken = {i for flag in flags for i in flag.places}
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
  flags = list(_flags(argv, lambda path: _is_switch(config, path)))
  # Names first, outermost first: a name that had no branch of fields, such as
  # `package.module:attribute`, brings one for the other flags.
  tags = ('.name', '.names')
  flags.sort(key=lambda f: (not f.path.endswith(tags), f.path.count('.')))
  for flag in flags:
    values[flag.path] = _checked(flag, draft, tree)
    draft.update_from_flattened_dict({flag.path: values[flag.path]})
  return draft, values


class _Flag(NamedTuple):
  path: str
  text: str | None
  negated: bool
  places: tuple[int, ...]


class _Place(NamedTuple):
  """A node of the config, its spec, and the builder whose fields it holds."""

  node: Any
  spec: Any
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
  return isinstance(tree_of.leaves(config).get(path), bool)


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
      f'{where}: is a section. Set its fields, as in --{where}.{field}=VALUE.'
    )
  value = _parse(flag, node, where)
  if isinstance(place.spec, Choice | Choices) and key in ('name', 'names'):
    names = (value,) if key == 'name' else value
    tree_of.check_names(place.spec.slot, names, where)
    for name in names:
      _open(place, Choice(place.spec.slot, name))
  return value


def _enter(place: _Place, key: str, path: str) -> _Place:
  if not isinstance(place.node, ConfigDict):
    head = path[: path.rfind(f'.{key}')]
    raise ConfigError(
      f'config.{path}: config.{head} is {wanted(place.node)}, not a section.'
    )
  if isinstance(place.spec, Part):
    part = place.spec
    place = _Place(place.node, part.values(), part.builder.__name__)
  if key not in place.node:
    raise ConfigError(f'config.{path}: {_complaint(place, key, path)}')
  node, spec, owner = place
  if isinstance(spec, Choice | Choices):
    choice = _choices(place).get(key)
    if choice is None:
      return _Place(node[key], None, owner)
    return _Place(node[key], choice.values(), choice.builder.__name__)
  return _Place(node[key], spec[key], owner)


def _choices(place: _Place) -> dict[str, Choice]:
  """Branch to choice, of every branch that the node may have."""
  slot, node = place.spec.slot, place.node
  own = place.spec if isinstance(place.spec, Choices) else (place.spec,)
  names = (*slot.names(), *node.get('names', (node.get('name'),)))
  found = [*(Choice(slot, name) for name in names if name), *own]
  return {choice.branch: choice for choice in found}


def _open(place: _Place, choice: Choice) -> None:
  """Gives the node a branch for the fields of a choice."""
  if choice.branch not in place.node:
    with place.node.unlocked():
      place.node[choice.branch] = tree_of.node(choice)[choice.branch]


def _complaint(place: _Place, key: str, path: str) -> str:
  what = f'{place.owner} has no such field.'
  if isinstance(place.spec, Choice | Choices):
    slot = place.spec.slot
    if key in slot.names():
      head = f'config.{path[: path.rfind(f".{key}.")]}'
      return f'{key!r} is not chosen. Set --{head}.name={key}, too.'
    what = f'no {slot.name} is named {key!r}.'
  elif not place.owner:
    what = 'there is no such section.'
  deeper = [p for p in tree_of.leaves(place.node) if p.endswith(f'.{key}')]
  if deeper:
    head = path[: path.rfind(key)]
    return f"{what} Did you mean 'config.{head}{_likely(place, deeper)}'?"
  return what + suggest(key, place.node.keys())


def _likely(place: _Place, paths: Iterable[str]) -> str:
  chosen = place.spec.branch if isinstance(place.spec, Choice) else ''
  return min(paths, key=lambda p: (p.split('.')[0] != chosen, p.count('.')))


def _parse(flag: _Flag, default: Any, where: str) -> Any:
  text, kind = flag.text, type(default)
  if flag.negated or kind is bool:
    return _switch(flag, kind, where)
  if text is None:
    raise ConfigError(f'{where}: has no value. Write --{where}=VALUE.')
  if kind is tuple:
    return cast(_elements(text), default, where)
  try:
    return kind(text)
  except ValueError as error:
    hint = _whole(text) if kind is int else ''
    raise ConfigError(
      f'{where} = {text!r}: must be {wanted(default)}{hint}.'
    ) from error


def _switch(flag: _Flag, kind: type, where: str) -> bool:
  if kind is not bool:
    raise ConfigError(f'--no{where}: only a bool is switched off this way.')
  if flag.text is None:
    return not flag.negated
  if flag.negated or flag.text.lower() not in BOOLS:
    raise ConfigError(f'{where} = {flag.text!r}: must be true or false.')
  return BOOLS[flag.text.lower()]


def _whole(text: str) -> str:
  """How to write an int that looks like a float."""
  try:
    value = float(text)
  except ValueError:
    return ''
  return f', write {int(value)}' if value.is_integer() else ''


def _elements(text: str) -> tuple:
  """`(1, 2)`, `1,2`, `1`, `a,b` or `('a', 'b')` to a tuple."""
  try:
    value = ast.literal_eval(text.strip())
  except (ValueError, SyntaxError):
    value = tuple(word.strip() for word in text.strip('()[] ').split(','))
    value = tuple(word for word in value if word)
  return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def explain(error: BaseException) -> str:
  """The message of an error in one breath, without traceback or class.

  Errors of ml_collections, which name no path, are put in our words.
  """
  text = _innermost(_message(error))
  close = re.search(r'\nDid you mean "([^"]+)" instead of "([^"]+)"', text)
  lone = isinstance(error, AttributeError) and re.fullmatch(r"'(\w+)'", text)
  lost = re.match(r'Key "([^"]+)" does not exist', text) or lone
  if close or lost:
    name = close[2] if close else lost[1]
    hint = f' Did you mean {close[1]!r}?' if close else ''
    return f'config: there is no field {name!r} to set or read.{hint}'
  wrong = re.match(
    r"Could not override field '([^']+)' \(reference\)\. (.*) is of original "
    r"type .* cannot be casted to type <class '(\w+)'>",
    text,
    re.DOTALL,
  )
  if wrong:
    return f'config: {wrong[1]} = {wrong[2]}: must be of type {wrong[3]}.'
  flag = re.match(r'flag --([^=]+)=(.*?): (.*)', text, re.DOTALL)
  return f'--{flag[1]} = {flag[2]!r}: {flag[3]}' if flag else text


def _message(error: BaseException) -> str:
  # str() of a KeyError is the repr of its argument, and ml_collections hides
  # a KeyError in its AttributeErrors.
  inner = error.args[0] if len(error.args) == 1 else None
  if isinstance(inner, BaseException):
    return _message(inner)
  if isinstance(error, KeyError) and isinstance(inner, str):
    return inner
  return str(error) or type(error).__name__


def _innermost(text: str) -> str:
  """The last error of a traceback that a message holds, or the message."""
  if 'Traceback (most recent call last)' not in text:
    return text
  return re.split(r'^[\w.]*(?:Error|Exception): ', text, flags=re.M)[-1].strip()
