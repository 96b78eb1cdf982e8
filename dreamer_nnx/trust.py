"""Code outside this package that a saved config would run.

A checkpoint holds a config, and a config names code: plugins, components by
`package.module:attribute`, and the fields that their builders mark by
`schema.Imports`. One that comes from a stranger may name none of these.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices, Part, branch
from dreamer_nnx.schema import imports

Found = tuple[tuple[str, Any], ...]
PLUGINS = 'plugins'


class UntrustedError(UserError):
  """A saved config names code that nobody here has named.

  Args:
    found: Config path and value of everything that it would import.
  """

  def __init__(self, found: Found, remedy: str = 'trust_config=True runs it.'):
    lines = ''.join(f'\n  {path} = {value!r}' for path, value in found)
    super().__init__(
      'the saved one names code that is not of this package, and that would '
      f'be run:{lines}\nIf you trust whoever made it, {remedy}',
      'config',
    )
    self.found = found

  def __reduce__(self) -> tuple[type, tuple[Found]]:
    return type(self), (self.found,)


def check(
  saved: Mapping[str, Any],
  tree: Mapping[str, Any],
  named: Collection[str] = (),
) -> None:
  """Refuses a saved config that names code; imports nothing that it names.

  Args:
    saved: The JSON of a resolved config.
    tree: Section names to specs, as in `config.sections`.
    named: Config paths whose values are not of the saved config, but were
      named here: these are trusted, and imported if need be.

  Raises:
    UntrustedError: It names code; lists everything that it would import.
  """
  found = tuple(
    (f'config.{path}', value)
    for path, value in _walk(saved, tree, named)
    if path not in named
  )
  if found:
    raise UntrustedError(found)


def _walk(
  saved: Mapping[str, Any], tree: Mapping[str, Any], named: Collection[str]
) -> Iterator[tuple[str, Any]]:
  """Path and value of all that would be imported, named here or not."""
  plugins = saved.get(PLUGINS)
  plugins = tuple(plugins) if isinstance(plugins, list) else ()
  if any(isinstance(name, str) for name in plugins):
    yield PLUGINS, plugins
  for key, spec in tree.items():
    if key in saved:
      yield from _node(spec, saved[key], key, named)


def _node(
  spec: Any, node: Any, path: str, named: Collection[str]
) -> Iterator[tuple[str, Any]]:
  # A node of another form is refused later, when it is bound to the spec.
  if not isinstance(node, Mapping):
    return
  if isinstance(spec, Part):
    yield from _fields(spec, node, path, named)
  if not isinstance(spec, (Choice, Choices)):
    return
  tag = 'name' if isinstance(spec, Choice) else 'names'
  names = (node.get(tag),) if tag == 'name' else node.get(tag, ())
  given = {c.name: c for c in (spec if tag == 'names' else (spec,))}
  for name in names if isinstance(names, (tuple, list)) else ():
    registered = name in given or name in spec.slot.names()
    if not registered and ':' in str(name):
      yield f'{path}.{tag}', name
      registered = f'{path}.{tag}' in named
    if registered:
      choice, key = given.get(name, Choice(spec.slot, name)), branch(name)
      yield from _fields(choice, node.get(key), f'{path}.{key}', named)


def _fields(
  call: Choice | Part, node: Any, path: str, named: Collection[str]
) -> Iterator[tuple[str, Any]]:
  if not isinstance(node, Mapping):
    return
  marks, values = imports(call.builder), call.values()
  for key in sorted(values.keys() & node.keys()):
    value = node[key]
    value = tuple(value) if isinstance(value, list) else value
    # A default is the builder's own word, whoever saved it.
    if key in marks and value != values[key] and marks[key].holds(value):
      yield f'{path}.{key}', value
    yield from _node(values[key], node[key], f'{path}.{key}', named)
