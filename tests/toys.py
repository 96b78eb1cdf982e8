"""Slots, builders and a config tree that need no JAX."""

import dataclasses
from typing import Protocol, runtime_checkable

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices, Part, Slot


@runtime_checkable
class Encoder(Protocol):
  token_size: int

  def __call__(self, obs: int) -> int: ...


@runtime_checkable
class Head(Protocol):
  def loss(self, target: float) -> float: ...


ENCODER = Slot(
  'encoder', home='tests.toys', given=('size', 'scale'), builds=Encoder
)
HEAD = Slot('head', home='tests.toys', given=('size',), builds=Head)
LOGGER = Slot('logger', home='tests.toys', given=('workdir',), builds=str)


@dataclasses.dataclass(frozen=True)
class Scaled:
  """A head; its field without a default is given."""

  size: int
  outscale: float = 1.0
  bins: tuple[int, ...] = dataclasses.field(default_factory=lambda: (5, 7))

  def __post_init__(self):
    if self.outscale < 0:
      raise UserError('must not be negative.', 'outscale', self.outscale)

  def loss(self, target: float) -> float:
    return self.outscale * self.size * target


HEAD.register('scaled')(Scaled)


@HEAD.register('plain')
def plain(*, size: int) -> Scaled:
  return Scaled(size, 3.0)


class Hidden(type):
  """A metaclass that hides the signature of its classes, as NNX has one."""

  def __call__(cls, *args, **kwargs):
    return super().__call__(*args, **kwargs)


@ENCODER.register('simple')
class SimpleEncoder(metaclass=Hidden):
  def __init__(
    self,
    size: int,
    *,
    depth: int = 4,
    kernel: int = 3,
    rate: float = 0.5,
    mults: tuple[int, ...] = (2, 3),
    act: str = 'silu',
    bias: bool = True,
    head: Choice = Choice(HEAD, 'scaled', outscale=0.5),
    scale: int,
  ):
    self.fields = (depth, kernel, rate, mults, act, bias)
    self.token_size = size * depth * scale
    self.head = head(size=size)

  def __call__(self, obs: int) -> int:
    return obs * self.token_size


@ENCODER.register('resnet')
class ResnetEncoder:
  def __init__(self, *, blocks: int = 2, units: int = 8):
    self.token_size = blocks * units

  def __call__(self, obs: int) -> int:
    return obs + self.token_size


@ENCODER.register('stacked')
class StackedEncoder:
  def __init__(
    self,
    size: int,
    *,
    scale: int,
    first: Choice = Choice(ENCODER, 'resnet', blocks=3),
  ):
    self.first = first(size=size, scale=scale)
    self.token_size = self.first.token_size

  def __call__(self, obs: int) -> int:
    return self.first(obs)


@ENCODER.register('broken')
class BrokenEncoder:
  """Builds something that is no encoder."""

  def tokens(self) -> int:
    return 1


@LOGGER.register('terminal')
def terminal(*, prefix: str = '> ') -> str:
  return prefix


@LOGGER.register('jsonl')
def jsonl(workdir: str, *, name: str = 'metrics') -> str:
  return f'{workdir}/{name}.jsonl'


class Unregistered:
  """An encoder that is named by its module."""

  token_size = 77

  def __init__(self, *, depth: int = 6, head: Choice = Choice(HEAD, 'plain')):
    self.depth = depth

  def __call__(self, obs: int) -> int:
    return obs * self.depth


@dataclasses.dataclass(frozen=True)
class Train:
  lr: float = 1e-4
  steps: int = 1000
  resume: bool = False


class Predictor:
  def __init__(
    self,
    size: int,
    *,
    layers: int = 3,
    units: int = 16,
    head: Choice = Choice(HEAD, 'plain'),
  ):
    self.layers, self.units = layers, units
    self.head = head(size=size)


TREE = {
  'seed': 0,
  'plugins': (),
  'encoder': Choice(ENCODER, 'simple', depth=8),
  'policy': Part(Predictor, layers=1),
  'loggers': Choices(LOGGER, ('terminal', 'jsonl')),
  'train': Part(Train),
}
