"""Imports of packages that still ask for `gym`, which does not run today."""

import contextlib
import sys
from collections.abc import Iterator

import gymnasium
import gymnasium.envs.registration

STANDING = {
  'gym': gymnasium,
  'gym.envs': gymnasium.envs,
  'gym.envs.registration': gymnasium.envs.registration,
  'gym.spaces': gymnasium.spaces,
}


@contextlib.contextmanager
def replaced() -> Iterator[None]:
  """Lets gymnasium stand for `gym` in imports; what was there comes back."""
  before = {name: sys.modules.get(name) for name in STANDING}
  sys.modules.update(STANDING)
  try:
    yield
  finally:
    for name, module in before.items():
      if module is None:
        sys.modules.pop(name, None)
      else:
        sys.modules[name] = module
