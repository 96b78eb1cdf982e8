"""The config tree: generated from signatures, resolved, saved and bound.

A *spec* is a `Choice`, `Choices`, `Part` or plain default of a signature; the
tree maps section names to specs. `node` turns a spec into a config node that
flags can override; `bind` puts the node's values back into the spec. A node is

    Part     {field: value, ...}
    Choice   {name: 'cnn', cnn: {field: value, ...}, resnet: {...}, ...}
    Choices  {names: ('cnn', 'mlp'), cnn: {...}, mlp: {...}, ...}

A branch that a node does not have stands for the defaults.
"""

import importlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx import trust
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import (
  Choice,
  Choices,
  Part,
  RegistryError,
  Slot,
  cast,
  fields,
  suggest,
)

PLUGINS = 'dreamer_nnx.plugins'
Tree = Mapping[str, Any]


class ConfigError(UserError):
  """A config that does not fit the tree, or contradicts itself."""


def _size(deter: int, units: int, classes: int, depth: int) -> dict[str, int]:
  return {
    '**.units': units,
    '**.depth': depth,
    'dynamics.rssm.deter': deter,
    'dynamics.rssm.hidden': units,
    'dynamics.rssm.classes': classes,
  }


SIZES = {
  '1m': _size(512, 64, 4, 4),
  '12m': _size(2048, 256, 16, 16),
  '25m': _size(3072, 384, 24, 24),
  '50m': _size(4096, 512, 32, 32),
  '100m': _size(6144, 768, 48, 48),
  '200m': _size(8192, 1024, 64, 64),
  '400m': _size(12288, 1536, 96, 96),
}


def sections() -> dict[str, Any]:
  """The tree of the toolkit: what a config has, and where its numbers live."""
  # Imported here so that reading a config module loads no JAX.
  from dreamer_nnx import slots
  from dreamer_nnx.agent.build import build
  from dreamer_nnx.training.checkpoint import Checkpoints
  from dreamer_nnx.training.options import EvaluateOptions, TrainOptions
  from dreamer_nnx.training.sharding import MeshOptions

  return {
    'seed': 0,
    'plugins': (),
    'env': Choice(slots.ENV, 'track'),
    **fields(build),
    'optimizer': Choice(slots.OPTIMIZER, 'dreamer'),
    'replay': Choice(slots.REPLAY, 'chunked'),
    'loggers': Choices(slots.LOGGER, ('terminal', 'jsonl')),
    'train': Part(TrainOptions),
    'evaluate': Part(EvaluateOptions),
    'checkpoint': Part(Checkpoints),
    'mesh': Part(MeshOptions),
  }


def base(
  size: str = '', *, plugins: Iterable[str] = (), tree: Tree | None = None
) -> ConfigDict:
  """The default config, for the files in `configs/` to start from.

  Args:
    size: One of SIZES; without it the signatures' own.
    plugins: Modules or entry points whose components the tree also has.
    tree: Another tree than that of the toolkit.
  """
  config = make(tree, plugins=plugins)
  if size:
    apply_size(config, size)
  return config


def make(
  tree: Tree | None = None, *, plugins: Iterable[str] = ()
) -> ConfigDict:
  """Generates a locked, typed config from a tree.

  Raises:
    ConfigError: A plugin cannot be found.
    RegistryError: A signature or difference of the tree does not fit.
  """
  plugins = load_plugins(plugins)
  tree = sections() if tree is None else tree
  config = ConfigDict({key: node(spec) for key, spec in tree.items()})
  if plugins:
    config.plugins = plugins
  return config.lock()


def node(spec: Any, *, whole: bool = True) -> Any:
  """The config node of a spec: its defaults and differences.

  Args:
    whole: Every registered builder gets a branch, not only the chosen ones.
  """
  return _node(spec, whole, ())


def _node(spec: Any, whole: bool, above: tuple) -> Any:
  if isinstance(spec, Part):
    return _branch(spec, whole, above)
  if not isinstance(spec, (Choice, Choices)):
    return spec
  many = isinstance(spec, Choices)
  chosen = {c.branch: c for c in (spec if many else (spec,))}
  # Inside a component of the same slot only the chosen branch is expanded:
  # with all of them the tree would have no end.
  names = spec.slot.names() if whole and spec.slot not in above else ()
  choices = {n: Choice(spec.slot, n) for n in names} | chosen
  tag = {'names': spec.names} if many else {'name': spec.name}
  above = (*above, spec.slot)
  return ConfigDict(
    tag | {key: _branch(c, whole, above) for key, c in choices.items()}
  )


def _branch(call: Choice | Part, whole: bool, above: tuple) -> ConfigDict:
  builder = call.builder
  if builder in above:
    raise RegistryError(
      f'{call.path}: {builder.__name__} has itself among its fields.'
    )
  result = ConfigDict()
  for key, value in call.values().items():
    if hasattr(ConfigDict, key):
      raise RegistryError(
        f'{call.path}.{key}: config nodes have a method of this name. Rename '
        f'the argument of {builder.__name__}.'
      )
    result[key] = _node(value, whole, (*above, builder))
  return result


def bind(spec: Any, node: Any, where: str) -> Any:
  """The spec with the values of its node, whole or resolved, JSON or config.

  Args:
    where: The config path of the node.

  Raises:
    ConfigError: The node is not of the spec's form.
    RegistryError: It has a name, field or type that the spec has not.
  """
  if not isinstance(spec, (Choice, Choices, Part)):
    return cast(node, spec, where)
  if not isinstance(node, Mapping | ConfigDict):
    raise ConfigError(f'{where} = {node!r}: is a section, not a value.')
  if isinstance(spec, Part):
    return _filled(spec.at(where), node)
  tag = 'name' if isinstance(spec, Choice) else 'names'
  if tag not in node:
    raise ConfigError(f'{where}: has no {tag!r}.')
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
    raise ConfigError(f'{where} = {names!r}: a name comes twice.')


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


def bind_all(
  config: Mapping | ConfigDict, tree: Tree | None = None
) -> dict[str, Any]:
  """Every section as a spec with the values of the config.

  Raises:
    ConfigError, RegistryError: As `bind`; a section is unknown.
  """
  tree = sections() if tree is None else tree
  for key in config:
    if key not in tree:
      raise ConfigError(
        f'config.{key}: there is no such section.{suggest(key, tree)}'
      )
  return {
    key: bind(spec, config[key], f'config.{key}') if key in config else spec
    for key, spec in tree.items()
  }


def resolve(
  config: Mapping | ConfigDict, tree: Tree | None = None
) -> ConfigDict:
  """The config with the chosen branches alone, every name and type checked."""
  bound = bind_all(config, tree)
  return ConfigDict(
    {key: node(spec, whole=False) for key, spec in bound.items()}
  ).lock()


def to_json(config: ConfigDict, tree: Tree | None = None) -> str:
  """The resolved config as text."""
  return json.dumps(resolve(config, tree).to_dict(), indent=2) + '\n'


def from_json(
  text: str,
  tree: Tree | None = None,
  *,
  trust_config: bool = False,
  named: Mapping[str, Any] | None = None,
) -> ConfigDict:
  """A whole config from the text of a resolved one; loads its plugins.

  Args:
    trust_config: Whether it may import plugins, modules and attributes that
      are not of this package.
    named: Path to value of what was named here, not in the text: this stands
      in place of what the text has there, and is trusted.

  Raises:
    UntrustedError: It names code, and is not trusted; nothing was imported.
    ConfigError, RegistryError: The text is not of a config, or of one with
      names or fields that are no more.
  """
  try:
    saved = json.loads(text)
  except (json.JSONDecodeError, RecursionError) as error:
    raise ConfigError(f'config: not JSON ({error}).') from error
  if not isinstance(saved, dict):
    raise ConfigError('config: not a JSON object.')
  tree, named = sections() if tree is None else tree, named or {}
  _lay_over(saved, named)
  if 'plugins' in named:
    load_plugins(named['plugins'])
  if not trust_config:
    trust.check(saved, tree, named)
  load_plugins(cast(saved.get('plugins', ()), (), 'config.plugins'))
  return make(bind_all(saved, tree))


def _lay_over(saved: dict[str, Any], named: Mapping[str, Any]) -> None:
  """Puts names that decide what is imported in place of those saved."""
  for path, value in named.items():
    *sections, key = path.split('.')
    node = saved
    for section in sections:
      node = node.get(section) if isinstance(node, dict) else None
    if key in ('name', 'names', 'plugins') and isinstance(node, dict):
      node[key] = value


def leaves(config: ConfigDict, prefix: str = '') -> dict[str, Any]:
  """Dotted path to value, of every field of a config."""
  result = {}
  for key, value in config.items():
    path = f'{prefix}{key}'
    nested = isinstance(value, ConfigDict)
    result |= leaves(value, f'{path}.') if nested else {path: value}
  return result


def apply(
  config: ConfigDict, patterns: Mapping[str, Any], where: str = 'config'
) -> None:
  """Sets every field whose dotted path matches a pattern, in their order.

  `*` stands for one name, `**` for any number of them.

  Raises:
    ConfigError: A pattern matches nothing; nothing has been set.
    RegistryError: A value is of another type than its field; likewise.
  """
  new, known = {}, leaves(config)
  for pattern, value in patterns.items():
    paths = [path for path in known if _regex(pattern).fullmatch(path)]
    if not paths:
      raise ConfigError(
        f'{where}: {pattern!r} matches no field.{_closest(pattern, known)}'
      )
    new |= {p: cast(value, known[p], f'config.{p}') for p in paths}
  with config.unlocked():
    config.update_from_flattened_dict(new)


def _regex(pattern: str) -> re.Pattern:
  star = {'**': '.*', '*': '[^.]*'}
  parts = re.split(r'(\*\*|\*)', pattern)
  return re.compile(''.join(star.get(p) or re.escape(p) for p in parts))


def _closest(pattern: str, paths: Iterable[str]) -> str:
  head, _, last = pattern.rpartition('.')
  names = {path.rpartition('.')[2] for path in paths}
  return suggest(last, names) if '*' in head else suggest(pattern, paths)


def apply_size(config: ConfigDict, size: str) -> None:
  """Sets the fields of one of SIZES.

  Raises:
    ConfigError: No size has this name.
  """
  if size not in SIZES:
    raise ConfigError(
      f'size = {size!r}: no such size.{suggest(size, SIZES)} '
      f'Known: {", ".join(SIZES)}.'
    )
  apply(config, SIZES[size], f'size {size}')


def load_plugins(names: Iterable[str]) -> tuple[str, ...]:
  """Imports modules, or entry points of the group `dreamer_nnx.plugins`.

  Raises:
    ConfigError: A name is neither.
  """
  names = tuple(names)
  for name in names:
    if not isinstance(name, str):
      raise ConfigError(f'config.plugins = {names!r}: must be a tuple of str.')
    _load_plugin(name)
  return names


def _load_plugin(name: str) -> None:
  try:
    importlib.import_module(name)
    return
  except ModuleNotFoundError as error:
    # A module that the plugin itself lacks is another matter.
    if error.name and f'{name}.'.startswith(f'{error.name}.'):
      missing = error
    else:
      raise ConfigError(
        f'config.plugins: {name!r} cannot be imported ({error}).'
      ) from error
  found = importlib.metadata.entry_points(group=PLUGINS)
  if name in found.names:
    found[name].load()
    return
  raise ConfigError(
    f'config.plugins: {name!r} is neither a module that can be imported nor '
    f'an entry point of the group {PLUGINS!r}.{suggest(name, found.names)}'
  ) from missing
