"""Differences between the config of a resumed run and its checkpoint's."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from dreamer_nnx import spacetypes
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space

Spaces = Mapping[str, Space]
# Fields that a run keeps, and what of it depends on them.
FIXED = {
  'env.name': 'its replay and its running episodes are of that environment',
  'replay.name': 'its steps are kept by that replay',
  'replay.mixture.live.name': 'its steps are kept by that replay',
  'replay.mixture.data.name': 'its draws go on in that replay',
}
SHOWN = 60
# Lines about arrays that do not fit, where changes explain them.
ARRAYS = 4


@dataclasses.dataclass(frozen=True)
class Changes:
  """The fields of a config that are not as they were saved.

  Args:
    step: Step of the checkpoint; None if there is none to compare with.
    saved: The resolved config in it, as JSON.
    config: Dotted path to value, of the config that goes on from it.
    spaces: Result of `described` when it was saved, or any other value.
  """

  step: int | None = None
  saved: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  spaces: Any = None

  @property
  def fields(self) -> dict[str, tuple[Any, Any]]:
    """Path to the old and the new value; of fields that both configs have."""
    saved, config = _leaves(self.saved), self.config
    return {
      path: (saved[path], config[path])
      for path in config
      if path in saved and saved[path] != _plain(config[path])
    }

  def check(self) -> None:
    """Refuses changes that a run cannot go on with.

    Raises:
      UserError: There is such a change; the first one is named.
    """
    for path in FIXED.keys() & self.fields.keys():
      old, new = self.fields[path]
      raise UserError(
        f'the run was begun with {_shown(old)}, and {FIXED[path]}. Set it '
        'back, or start another workdir from this one by --restore.',
        f'config.{path}',
        new,
      )

  def check_spaces(self, obs_space: Spaces, action_space: Spaces) -> None:
    """Refuses an environment with other spaces than those saved.

    Raises:
      UserError: They differ; the first is named, and the fields that changed.
    """
    if not isinstance(self.spaces, Mapping):
      return
    found = described(obs_space, action_space)
    for name in sorted(found.keys() | self.spaces.keys()):
      old, new = self.spaces.get(name, 'absent'), found.get(name, 'absent')
      if old == new:
        continue
      fields = {k: x for k, x in self.fields.items() if k.startswith('env.')}
      text = f'{name} is {new}, in the checkpoint {str(old)[:SHOWN]}'
      text += ': the environment has changed.' if not fields else '.'
      if len(fields) == 1:
        ((path, (old, new)),) = fields.items()
        text = f'{text} Set it back to {_shown(old)}.'
        raise UserError(text, f'config.{path}', new)
      raise UserError('\n'.join((text, *_lines(fields))), 'config.env')

  @contextlib.contextmanager
  def named(self) -> Iterator[None]:
    """Adds the fields that were changed to what does not fit the checkpoint."""
    try:
      yield
    except UserError as error:
      if self.fields:
        head, *lines = error.what.splitlines()
        if len(lines) > ARRAYS:
          lines = [*lines[: ARRAYS - 1], '  ...', lines[-1]]
        fields = _lines(self.fields)
        text = 'Since it was saved these changed:'
        error.what = '\n'.join((head, *lines, text, *fields))
      raise

  def __str__(self) -> str:
    return '\n'.join((f'Resumes from step {self.step}.', *_lines(self.fields)))


def described(obs_space: Spaces, action_space: Spaces) -> dict[str, str]:
  """Describes spaces, JSON-able, without their bounds, which may change."""
  named = {f'observation {k!r}': s for k, s in obs_space.items()}
  named |= {f'action {k!r}': s for k, s in action_space.items()}
  return {
    name: _described(space)
    for name, space in named.items()
    if not name.startswith("observation 'log/")
  }


def _described(space: Space) -> str:
  if spacetypes.kind(space) == 'Discrete':
    return f'Discrete({int(space.n)})'
  if spacetypes.kind(space) == 'MultiDiscrete':
    return f'MultiDiscrete({space.nvec.tolist()})'
  return f'{type(space).__name__}{tuple(space.shape)} {space.dtype}'


def _lines(fields: Mapping[str, tuple[Any, Any]]) -> list[str]:
  return [
    f'  config.{path}: {_shown(old)} -> {_shown(new)}'
    for path, (old, new) in fields.items()
  ]


def _shown(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'


def _leaves(saved: Mapping[str, Any], above: str = '') -> dict[str, Any]:
  result = {}
  for key, value in saved.items():
    nested = isinstance(value, Mapping)
    path = f'{above}{key}'
    result |= _leaves(value, f'{path}.') if nested else {path: _plain(value)}
  return result


def _plain(value: Any) -> Any:
  """Turns JSON's lists into tuples."""
  if isinstance(value, list | tuple):
    return tuple(map(_plain, value))
  return value
