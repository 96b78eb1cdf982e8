"""The config tree: generated from signatures, resolved, saved and bound.

The tree maps section names to specs, each of which says what its part of a
config has (see `nodes`). A config is generated from it, changed by patterns and
flags, resolved to what is chosen, and bound: put back into the specs.
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx import compat, sizes, trust
from dreamer_nnx.nodes import (
  ConfigError,
  bind,
  calls,
  check_names,
  leaves,
  node,
  open_branches,
)
from dreamer_nnx.plugins import load_plugins
from dreamer_nnx.registry import Choice, Choices, Part, cast, fields, suggest
from dreamer_nnx.schema import Limited, Range

__all__ = [
  'SIZES',
  'Bound',
  'ConfigDict',
  'ConfigError',
  'apply',
  'apply_size',
  'base',
  'bind',
  'bind_all',
  'check_names',
  'from_json',
  'generate',
  'leaves',
  'load_plugins',
  'node',
  'resolve',
  'sections',
  'to_json',
]

Tree = Mapping[str, Any]


class Bound(dict):
  """Every section as a spec with the values of a config."""


SIZES = sizes.NAMES


def sections() -> dict[str, Any]:
  """The tree of the toolkit: what a config has, and where its numbers live.

  Sections:
    seed: Number that all randomness of a run follows from.
    plugins: Modules, or entry points of the group `dreamer_nnx.plugins`, that
      are imported for the components which they register.
    env: Environments that are stepped together.
    optimizer: What turns gradients into updates of the parameters.
    replay: Experience, and the batches drawn from it.
    loggers: Where metrics are written to, all of them.
    callbacks: Code that is told of every step or update.
    train: How long, how often and on how much is trained.
    evaluate: How often and how long the agent is evaluated.
    checkpoint: Which checkpoints are kept.
    mesh: Devices, and what is split over which of them.
  """
  # Imported here so that reading a config module loads no JAX.
  from dreamer_nnx import slots, streams
  from dreamer_nnx.agent.build import build
  from dreamer_nnx.training.checkpoint import Checkpoints
  from dreamer_nnx.training.options import EvaluateOptions, TrainOptions
  from dreamer_nnx.training.sharding import MeshOptions

  return {
    'seed': Limited(0, (Range(0, streams.LIMIT - 1),)),
    'plugins': (),
    'env': Choice(slots.ENV, 'track'),
    **fields(build),
    'optimizer': Choice(slots.OPTIMIZER, 'dreamer'),
    'replay': Choice(slots.REPLAY, 'chunked'),
    'loggers': Choices(slots.LOGGER, ('terminal', 'jsonl')),
    'callbacks': Choices(slots.CALLBACK),
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
  config = generate(tree, plugins=plugins)
  if size:
    apply_size(config, size, tree)
  return config


def generate(
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


def bind_all(config: Mapping | ConfigDict, tree: Tree | None = None) -> Bound:
  """Every section as a spec with the values of the config; loads its plugins.

  Raises:
    ConfigError, RegistryError: As `bind`; a section is unknown.
  """
  if isinstance(config, Bound):
    return config
  plugins = cast(config.get('plugins', ()), (), 'config.plugins')
  load_plugins(plugins)
  tree = sections() if tree is None else tree
  for key in config:
    if key not in tree:
      raise ConfigError(
        f'there is no such section.{suggest(key, tree)}', f'config.{key}'
      )
  default = lambda spec: spec.default if isinstance(spec, Limited) else spec
  return Bound(
    {
      key: bind(spec, config[key], f'config.{key}')
      if key in config
      else default(spec)
      for key, spec in tree.items()
    }
  )


def resolve(
  config: Mapping | ConfigDict, tree: Tree | None = None
) -> ConfigDict:
  """The config with the chosen branches alone, every name and value checked.

  Raises:
    ConfigError, RegistryError: As `bind_all`.
    UserError: Values of a part contradict each other.
  """
  bound = bind_all(config, tree)
  for spec in bound.values():
    _check_together(spec)
  return ConfigDict(
    {key: node(spec, every_branch=False) for key, spec in bound.items()}
  ).lock()


def _check_together(spec: Any) -> None:
  """Builds the options that need nothing else, which checks their values."""
  if isinstance(spec, Choices):
    for choice in spec:
      _check_together(choice)
  if not isinstance(spec, Choice | Part):
    return
  for value in spec.values().values():
    _check_together(value)
  if not isinstance(spec, Part) or not dataclasses.is_dataclass(spec.builder):
    return
  signature = inspect.signature(spec.builder)
  if all(p.default is not p.empty for p in signature.parameters.values()):
    spec()


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
  """A full config from the text of a resolved one; loads its plugins.

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
    raise ConfigError(f'not JSON ({error}).', 'config') from error
  if not isinstance(saved, dict):
    raise ConfigError('not a JSON object.', 'config')
  tree, named = sections() if tree is None else tree, named or {}
  named = {
    path if path.partition('.')[0] in tree else compat.path(path): value
    for path, value in named.items()
  }
  _lay_over(saved, named)
  if 'plugins' in named:
    load_plugins(named['plugins'])
  if not trust_config:
    trust.check(saved, tree, named)
  return generate(bind_all(saved, tree))


def _lay_over(saved: dict[str, Any], named: Mapping[str, Any]) -> None:
  """Puts names that decide what is imported in place of those saved."""
  for path, value in named.items():
    *sections, key = path.split('.')
    node = saved
    for section in sections:
      node = node.get(section) if isinstance(node, dict) else None
    if key in ('name', 'names', 'plugins') and isinstance(node, dict):
      node[key] = value


def apply(
  config: ConfigDict,
  patterns: Mapping[str, Any],
  where: str = 'config',
  tree: Tree | None = None,
) -> None:
  """Sets every field whose dotted path matches a pattern, in their order.

  `*` stands for one name, `**` for any number of them. Plugins and names come
  first, whatever their order, so that the other patterns find the fields of
  what they bring.

  Args:
    where: Name of the patterns in error messages.
    tree: Another tree than that of the toolkit.

  Raises:
    ConfigError: A pattern matches nothing; nothing has been set.
    RegistryError: A value is of another type than its field; nothing is set.
  """
  draft, plugins = config, patterns.get('plugins')
  names = {k: v for k, v in patterns.items() if k.endswith(('.name', '.names'))}
  if plugins is not None or any(map(_names_module, names.values())):
    draft = config.copy_and_resolve_references().unlock()
    load_plugins(cast(plugins or (), (), 'config.plugins'))
    tree = sections() if tree is None else tree
    open_branches(tree, draft)
    for pattern in sorted(names, key=lambda path: path.count('.')):
      # Each of them may bring the node that the next is in.
      new = _matched(draft, {pattern: names[pattern]}, where)
      draft.update_from_flattened_dict(new)
      open_branches(tree, draft)
  new = _matched(draft, patterns, where)
  with config.unlocked():
    if draft is not config:
      config.update(draft)
    config.update_from_flattened_dict(new)


def _names_module(value: Any) -> bool:
  values = value if isinstance(value, tuple | list) else (value,)
  return any(':' in str(name) for name in values)


def _matched(
  config: ConfigDict, patterns: Mapping[str, Any], where: str
) -> dict[str, Any]:
  """Path to value, of all that patterns set."""
  new, known = {}, leaves(config)
  moved = {compat.path_before(path): path for path in known}
  moved = {old: path for old, path in moved.items() if old not in known}
  all_of_then = []
  for pattern, value in patterns.items():
    match = _regex(pattern).fullmatch
    paths = [path for path in known if match(path)]
    of_then = [old for old in moved if match(old) and moved[old] not in paths]
    for old in of_then if value else ():
      new |= compat.listed(old, known | new)
    paths += [moved[old] for old in of_then]
    if not paths:
      raise ConfigError(
        f'{pattern!r} matches no field.{_closest(pattern, known)}', where
      )
    new |= {p: cast(value, known[p], f'config.{p}') for p in paths}
    all_of_then += of_then
  compat.warn(all_of_then, where)
  return new


def _regex(pattern: str) -> re.Pattern:
  star = {'**': '.*', '*': '[^.]*'}
  parts = re.split(r'(\*\*|\*)', pattern)
  return re.compile(''.join(star.get(p) or re.escape(p) for p in parts))


def _closest(pattern: str, paths: Iterable[str]) -> str:
  head, _, last = pattern.rpartition('.')
  names = {path.rpartition('.')[2] for path in paths}
  return suggest(last, names) if '*' in head else suggest(pattern, paths)


def apply_size(config: ConfigDict, size: str, tree: Tree | None = None) -> None:
  """Sets what every component declares for one of SIZES, chosen or not.

  Args:
    tree: Another tree than that of the toolkit.

  Raises:
    ConfigError: No size has this name.
    RegistryError: A component declares a field that it does not have.
  """
  if size not in SIZES:
    raise ConfigError(
      f'no such size.{suggest(size.lower(), SIZES)} Known: {", ".join(SIZES)}.',
      'size',
      size,
    )
  tree = sections() if tree is None else tree
  new = {
    f'{path}.{field}': value
    for path, call in calls(tree, config)
    for field, value in sizes.of(call.builder, size).items()
  }
  with config.unlocked():
    config.update_from_flattened_dict(new)
