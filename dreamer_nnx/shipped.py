"""Configs that come with the package, found by name from any folder."""

import pathlib

from dreamer_nnx.nodes import ConfigError
from dreamer_nnx.registry import suggest

# Installed, they are in the package; in a checkout, beside it.
_PACKAGE = pathlib.Path(__file__).parent
_PLACES = (_PACKAGE / 'configs', _PACKAGE.parent / 'configs')


def shipped() -> tuple[str, ...]:
  """Names of the configs that `--config=NAME` finds."""
  folder = next(filter(pathlib.Path.is_dir, _PLACES), None)
  files = folder.glob('*.py') if folder else ()
  return tuple(sorted(file.stem for file in files if file.stem[0] != '_'))


def find(name: str, folder: pathlib.Path | None = None) -> pathlib.Path:
  """Finds the file of a config: a path, or the name of a shipped one.

  What ends in .py or has a slash is a path, and anything else a name.

  Args:
    name: As in `--config=NAME`; with an argument, NAME:ARG.
    folder: Folder that a relative path begins in; by default the current one.

  Raises:
    ConfigError: There is no such file, or no such config.
  """
  path, colon, argument = name.partition(':')
  names = shipped()
  if path in names:
    place = next(filter(pathlib.Path.is_dir, _PLACES))
    return place / f'{path}.py'
  file = pathlib.Path(folder or '', path).expanduser()
  if file.is_file():
    return file
  raise ConfigError(_missing(path, colon + argument), '--config', name)


def _missing(path: str, argument: str) -> str:
  stem, names = pathlib.PurePath(path).stem, shipped()
  if '/' not in path and not path.endswith('.py'):
    return (
      f'no config of this name is shipped.{suggest(path.lower(), names)} '
      f'Shipped: {", ".join(names)}. The path of a file ends in .py.'
    )
  what = f'there is no file {path!r}.'
  if stem in names:
    return f'{what} The one that is shipped is --config={stem}{argument}.'
  return f'{what}{suggest(stem.lower(), names)}'
