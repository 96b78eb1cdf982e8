"""Nodes of a config and the specs that they stand for.

A *spec* is a `Choice`, `Choices`, `Part` or plain default of a signature. A
config node of it is what flags can override:

    Part     {field: value, ...}
    Choice   {name: 'cnn', cnn: {field: value, ...}, resnet: {...}, ...}
    Choices  {names: ('cnn', 'mlp'), cnn: {...}, mlp: {...}, ...}

A branch that a node does not have stands for the defaults. `Limited` is a plain
default of the tree itself, with a range.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import (
  Choice,
  Choices,
  Part,
  RegistryError,
  Slot,
  branch,
  cast,
)
from dreamer_nnx.schema import Limited, check


class ConfigError(UserError):
  """A config that does not fit the tree, or contradicts itself."""


def node(spec: Any, *, every_branch: bool = True) -> Any:
  """The config node of a spec: its defaults and differences.

  Args:
    every_branch: Every registered builder gets one, not only the chosen ones.
  """
  return _node(spec, every_branch, ())


def _node(spec: Any, every_branch: bool, above: tuple) -> Any:
  if isinstance(spec, Limited):
    return spec.default
  if isinstance(spec, Part):
    return _branch(spec, every_branch, above)
  if not isinstance(spec, (Choice, Choices)):
    return spec
  tag = {'names': spec.names} if many(spec) else {'name': spec.name}
  choices = {c.branch: c for c in (spec if many(spec) else (spec,))}
  # Inside a component of the same slot only the chosen branch is expanded:
  # with all of them the tree would have no end.
  if every_branch and spec.slot not in above:
    choices = {n: Choice(spec.slot, n) for n in spec.slot.names()} | choices
  above = (*above, spec.slot)
  return ConfigDict(
    tag | {key: _branch(c, every_branch, above) for key, c in choices.items()}
  )


def _branch(
  call: Choice | Part, every_branch: bool, above: tuple
) -> ConfigDict:
  builder = call.builder
  if builder in above:
    raise RegistryError(
      f'{builder.__name__} has itself among its fields.', call.path
    )
  result = ConfigDict()
  for key, value in call.values().items():
    if hasattr(ConfigDict, key):
      raise RegistryError(
        'config nodes have a method of this name. Rename the argument of '
        f'{builder.__name__}.',
        f'{call.path}.{key}',
      )
    result[key] = _node(value, every_branch, (*above, builder))
  return result


def bind(spec: Any, node: Any, where: str) -> Any:
  """The spec with the values of its node, resolved or not, JSON or config.

  Args:
    where: The config path of the node.

  Raises:
    ConfigError: The node is not of the spec's form.
    RegistryError: It has a name, field or type that the spec has not, or a
      value out of its range.
  """
  if isinstance(spec, Limited):
    value = cast(node, spec.default, where)
    check(value, spec.limits, spec.default, where)
    return value
  if not isinstance(spec, (Choice, Choices, Part)):
    return cast(node, spec, where)
  if not isinstance(node, Mapping | ConfigDict):
    raise ConfigError('is a section, not a value.', where, node)
  if isinstance(spec, Part):
    return _filled(spec.at(where), node)
  tag = tag_of(spec)
  if tag not in node:
    raise ConfigError(f'has no {tag!r}.', where)
  if isinstance(spec, Choice):
    name = cast(node[tag], '', f'{where}.name')
    return _chosen(spec.slot, name, {spec.name: spec}, node, where)
  defaults = {choice.name: choice for choice in spec}
  names = cast(node[tag], ('',), f'{where}.names')
  check_names(spec.slot, names, f'{where}.names')
  return Choices(
    spec.slot, [_chosen(spec.slot, n, defaults, node, where) for n in names]
  )


def check_names(slot: Slot, names: tuple[str, ...], where: str) -> None:
  """Refuses names that the slot does not have, and twins."""
  for name in names:
    slot.builder(name, where)
  if len(set(names)) < len(names):
    raise ConfigError('a name comes twice.', where, names)


def _chosen(
  slot: Slot, name: str, defaults: Mapping, node: Mapping, where: str
) -> Choice:
  choice = defaults.get(name, Choice(slot, name)).at(where)
  return _filled(choice, node.get(choice.branch, {}))


def _filled(call: Choice | Part, node: Mapping) -> Choice | Part:
  values = call.values()
  known = {key: node[key] for key in node if key in values}
  unknown = {key: node[key] for key in node if key not in values}
  result = call.replace(
    **unknown,
    **{k: bind(values[k], v, f'{call.path}.{k}') for k, v in known.items()},
  )
  result.values()
  return result


def many(spec: Any) -> bool:
  return isinstance(spec, Choices)


def tag_of(spec: Choice | Choices) -> str:
  """The field of a node that says what is chosen."""
  return 'names' if many(spec) else 'name'


def chosen(spec: Choice | Choices, node: ConfigDict) -> tuple[str, ...]:
  """The names that a node chooses."""
  tag = tag_of(spec)
  return tuple(node[tag]) if many(spec) else (node[tag],)


def branches(
  spec: Choice | Choices, node: ConfigDict, registered: bool = True
) -> dict[str, Choice]:
  """Key to choice, of every branch that a node may have.

  Args:
    registered: Includes all builders of the slot, not only those named.
  """
  slot = spec.slot
  names = slot.names() if registered else ()
  defaults = spec if many(spec) else (spec,)
  choices = [Choice(slot, name) for name in (*names, *chosen(spec, node))]
  return {choice.branch: choice for choice in (*choices, *defaults)}


def calls(
  spec: Any, node: Any, path: str = ''
) -> Iterator[tuple[str, Choice | Part]]:
  """Dotted path and call of every part and branch of a node, chosen or not."""
  if isinstance(spec, Choice | Choices) and isinstance(node, ConfigDict):
    for key, choice in branches(spec, node).items():
      yield from _calls(choice, node.get(key), f'{path}.{key}')
  elif isinstance(spec, Part):
    yield from _calls(spec, node, path)
  elif isinstance(spec, Mapping):
    for key, deeper in spec.items():
      yield from calls(deeper, node.get(key), f'{path}.{key}'.lstrip('.'))


def _calls(
  call: Choice | Part, node: Any, path: str
) -> Iterator[tuple[str, Choice | Part]]:
  if isinstance(node, ConfigDict):
    yield path, call
    for key, deeper in call.values().items():
      yield from calls(deeper, node.get(key), f'{path}.{key}')


def inside(spec: Any, node: ConfigDict) -> dict[str, Any]:
  """Key to spec, of what a node has and its choices leave in effect."""
  if isinstance(spec, Part):
    return spec.values()
  if not isinstance(spec, (Choice, Choices)):
    return dict(spec or {})
  keys = {branch(name) for name in chosen(spec, node)}
  found = branches(spec, node, registered=False).items()
  fields = {key: choice.values() for key, choice in found if key in keys}
  return {tag_of(spec): None} | fields


def effective(spec: Any, node: Any, path: str = '') -> Iterator[str]:
  """Dotted paths of the fields that the choices of a node leave in effect."""
  if not isinstance(node, ConfigDict):
    yield path
    return
  for key, deeper in inside(spec, node).items():
    if key in node:
      yield from effective(deeper, node[key], f'{path}.{key}'.lstrip('.'))


def open_branches(
  spec: Any, node: Any, where: str = 'config', above: tuple = ()
) -> None:
  """Adds the branches that an unlocked node lacks.

  These are the ones of components that were registered, or named, after the
  node was made.

  Args:
    where: The config path of the node.
    above: Slots of the nodes around it.

  Raises:
    RegistryError: A name is not registered, or cannot be imported.
  """
  if not isinstance(node, ConfigDict):
    return
  if not isinstance(spec, (Choice, Choices)):
    fields = spec.values() if isinstance(spec, Part) else spec or {}
    for key, deeper in fields.items():
      if key in node:
        open_branches(deeper, node[key], f'{where}.{key}', above)
    return
  check_names(spec.slot, chosen(spec, node), f'{where}.{tag_of(spec)}')
  found = branches(spec, node, registered=spec.slot not in above)
  above = (*above, spec.slot)
  for key, choice in found.items():
    if key not in node:
      node[key] = _branch(choice.at(where), True, above)
    else:
      open_branches(choice.values(), node[key], f'{where}.{key}', above)


def leaves(config: ConfigDict, prefix: str = '') -> dict[str, Any]:
  """Dotted path to value, of every field of a config."""
  result = {}
  for key, value in config.items():
    path = f'{prefix}{key}'
    nested = isinstance(value, ConfigDict)
    result |= leaves(value, f'{path}.') if nested else {path: value}
  return result
