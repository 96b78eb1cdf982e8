"""A toy tree in which sections and fields are where they are today."""

from typing import Protocol, runtime_checkable

from dreamer_nnx.registry import Choice, Choices, Part, Slot


@runtime_checkable
class Anything(Protocol):
  """Any product."""


def _slot(name):
  return Slot(name, home='tests.moved', given=(), builds=Anything)


BEHAVIOR, POLICY, SELECTOR, REPLAY = map(
  _slot, ('behavior', 'policy', 'selector', 'replay')
)


class Built:
  def __init__(self, fields=()):
    self.fields = dict(fields)


class Value(Built):
  def __init__(self, *, layers: int = 3, units: int = 8): ...


@POLICY.register('mlp')
def mlp(
  *,
  layers: int = 3,
  units: int = 8,
  clip: bool = False,
  head: Choice = Choice(SELECTOR, 'uniform'),
):
  return Built()


@POLICY.register('masked')
def masked(*, layers: int = 3):
  return Built()


@BEHAVIOR.register('actor_critic')
def actor_critic(
  *, policy: Choice = Choice(POLICY, 'mlp'), value: Part = Part(Value, layers=2)
):
  return Built({'policy': policy(), 'value': value()})


@BEHAVIOR.register('cem')
def cem(*, rounds: int = 4):
  return Built()


@SELECTOR.register('uniform')
def uniform(*, share: float = 1.0):
  return share


@SELECTOR.register('priority')
def priority(*, share: float = 1.0, exponent: float = 0.8):
  return share, exponent


@SELECTOR.register('recency')
def recency(*, share: float = 1.0):
  return share


@REPLAY.register('chunked')
def chunked(
  *,
  capacity: int = 9,
  selectors: Choices = Choices(SELECTOR, ('uniform',)),
  filters: Choices = Choices(SELECTOR),
):
  return Built({'selectors': selectors(), 'filters': filters()})


def tree():
  return {
    'plugins': (),
    'reward': Part(Value),
    'behavior': Choice(BEHAVIOR, 'actor_critic'),
    'replay': Choice(REPLAY, 'chunked'),
    'extras': Choices(SELECTOR),
  }


# Where fields of this tree were, beside those of `compat` itself.
PATHS = {
  f'replay.chunked.{name}': f'replay.chunked.selectors.{name}.share'
  for name in ('uniform', 'priority', 'recency')
}
EXPONENT = 'replay.chunked.selectors.priority.exponent'
LISTS = dict.fromkeys(PATHS, 'replay.chunked.selectors.names')
PATHS |= {'replay.chunked.priority_exponent': EXPONENT}
