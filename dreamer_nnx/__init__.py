"""DreamerV3 as a modular toolkit in JAX and Flax NNX.

  config = dreamer_nnx.load_config('demo', {'train.steps': 1_000})
  with dreamer_nnx.Run(config, 'runs/demo') as run:
    run.train()
    metrics = run.evaluate()
  policy = dreamer_nnx.load_policy('runs/demo')
  model = dreamer_nnx.load_world_model('runs/demo')

Importing the package imports nothing else; each of these names does so when it
is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dreamer_nnx.errors import UserError
from dreamer_nnx.versions import PACKAGE as __version__

if TYPE_CHECKING:
  from dreamer_nnx.dreams import load_world_model
  from dreamer_nnx.loading import load_config
  from dreamer_nnx.policy import load_policy
  from dreamer_nnx.run import Run

__all__ = [
  'Run',
  'UserError',
  'load_config',
  'load_policy',
  'load_world_model',
]
# Where each name is, that is imported when it is used.
_HOMES = {
  'Run': 'dreamer_nnx.run',
  'load_config': 'dreamer_nnx.loading',
  'load_policy': 'dreamer_nnx.policy',
  'load_world_model': 'dreamer_nnx.dreams',
}


def __getattr__(name: str) -> Any:
  if name in _HOMES:
    return getattr(importlib.import_module(_HOMES[name]), name)
  from dreamer_nnx.schema import suggest

  hint = suggest(name, __all__)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}.{hint}')


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
