"""Config files: functions that make a config and fit it to an environment."""

import contextlib
import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import explaining, shipped
from dreamer_nnx.nodes import ConfigError

Change = Callable[[ConfigDict], Any]


def load_file(
  name: str,
  folder: Path | None = None,
  change: Change = lambda config: None,
  say: Callable[[str], Any] = lambda text: None,
) -> ConfigDict:
  """Calls `get_config(ARG)` of `FILE:ARG`, or `get_config()` of `FILE`.

  If the file has a function `adapt` as well, it is called with the changed
  config, whose environment it may look at, and with ARG if there is one. It
  returns a text and values by path or pattern, which are set in a config made
  anew before that is changed.

  Args:
    name: FILE is a path, or the name of a config that the package ships.
    folder: Folder that a relative path begins in.
    change: Sets what is asked for beside the file, once or twice.
    say: Called with the text of `adapt`.

  Raises:
    ConfigError: There is no such file, or it has no such function.
    Exception: What the file itself raises, with a note that names it, and what
      `change` raises.
  """
  file = shipped.find(name, folder)
  with _named(name):
    module = _loaded(file, name)
    make = _maker(module, name)
    config = make()
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f'get_config() returned a {type(config).__name__}, not a ConfigDict.',
      '--config',
      name,
    )
  change(config)
  if not hasattr(module, 'adapt'):
    return config
  with _named(name):
    text, values = module.adapt(config, *make.args)
    fitted = make()
    configs.apply(fitted, values, f'adapt() of {name}')
  change(fitted)
  say(text)
  return fitted


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
  """Adds the name of the file to what it raises."""
  try:
    yield
  except Exception as error:
    if explaining.of_config(error):
      text = explaining.explain(error).removeprefix('config: ')
      raise ConfigError(text, '--config', name) from error
    note = f'while loading --config = {name!r}'
    if isinstance(error, OSError):
      # Not the failure of a disk that its message explains.
      raise RuntimeError(note) from error
    error.add_note(note)
    raise


def _loaded(file: Path, name: str) -> ModuleType:
  spec = importlib.util.spec_from_file_location(file.stem, file)
  if spec is None:
    text = f'{name.partition(":")[0]!r} is not a Python file.'
    raise ConfigError(text, '--config', name)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _maker(module: ModuleType, name: str) -> functools.partial[ConfigDict]:
  """Returns `get_config` with the argument that the name has."""
  path, colon, argument = name.partition(':')
  if not hasattr(module, 'get_config'):
    raise ConfigError(f'{path} has no get_config().', '--config', name)
  given = (argument,) if colon else ()
  try:
    inspect.signature(module.get_config).bind(*given)
  except TypeError as error:
    what = 'takes no argument' if colon else 'needs an argument, FILE:ARG'
    raise ConfigError(f'its get_config() {what}.', '--config', name) from error
  except ValueError:
    pass  # Some callables have no signature to look at.
  return functools.partial(module.get_config, *given)
