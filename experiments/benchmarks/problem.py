"""The problem that is measured: an agent of any size, and its batches."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from gymnasium import spaces as gym_spaces

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, spaces, workflow
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.training.batch_check import abstract_batch
from dreamer_nnx.training.sharding import Sharding
from dreamer_nnx.training.step import Learner

Spaces = dict[str, gym_spaces.Space]


def _box(*shape: int) -> gym_spaces.Box:
  return gym_spaces.Box(-1, 1, shape, np.float32)


# Observations and actions of each kind.
KINDS: dict[str, tuple[Spaces, Spaces]] = {
  'vector': ({'vector': _box(24)}, {'action': _box(6)}),
  'image': (
    {'image': gym_spaces.Box(0, 255, (64, 64, 3), np.uint8)},
    {'action': gym_spaces.Discrete(17)},
  ),
}


@dataclasses.dataclass(frozen=True)
class Problem:
  """A config with its spaces; batches are of random numbers.

  Args:
    size: One of `config.SIZES`.
    kind: One of `KINDS`.
    flags: Overrides, as on the command line.
  """

  size: str
  kind: str
  flags: Sequence[str] = ()

  @property
  def config(self) -> configs.ConfigDict:
    config = configs.base(self.size)
    overrides.override(config, list(self.flags))
    return config

  @property
  def spaces(self) -> tuple[Spaces, Spaces]:
    return KINDS[self.kind]

  def learner(self, sharding: Sharding | None = None) -> Learner:
    return workflow.make_learner(self.config, *self.spaces, sharding)

  def abstract_batch(self, learner: Learner) -> dict:
    """Shapes and formats of a (B, 1 + T) batch."""
    train = self.config.train
    kept = workflow.step_spaces(*self.spaces, learner)
    return abstract_batch(kept, train.batch_size, 1 + train.batch_length)

  def batch(self, learner: Learner, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch of random numbers in the right ranges."""
    rng = np.random.default_rng(seed)
    known = self.spaces[0] | self.spaces[1]
    batch = {}
    for name, x in self.abstract_batch(learner).items():
      space = known.get(name)
      if name == CONSEC:
        values = np.zeros(x.shape)
      elif space is not None and spaces.is_discrete(space):
        values = rng.integers(0, spaces.classes(space), x.shape)
      elif x.dtype == np.uint8:
        values = rng.integers(0, 256, x.shape)
      elif x.dtype == bool:
        values = rng.random(x.shape) < 0.01
      else:
        values = rng.normal(size=x.shape)
      batch[name] = values.astype(x.dtype)
    return batch
