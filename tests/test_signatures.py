"""Arguments taken from another function are like one's own."""

import inspect
from typing import Annotated, ClassVar

import pytest

from dreamer_nnx import sizes
from dreamer_nnx.registry import Part, RegistryError
from dreamer_nnx.schema import Range, fields
from dreamer_nnx.signatures import takes


class Inner:
  def __init__(
    self,
    size: int,
    *,
    scale: Annotated[float, Range(0)] = 1.0,
    layers: int = 3,
    device: str,
  ):
    self.numbers = size, scale, layers, device


@takes(Inner)
def outer(size: int, *, layers: int = 5, device: str = 'cpu', **inner) -> Inner:
  """Builds an Inner."""
  return Inner(size, layers=layers, device=device, **inner)


class Outer:
  @takes(Inner)
  def __init__(self, size: int, *, width: int = 2, **inner):
    self.width, self.inner = width, Inner(size, **inner)


def test_fields_are_its_own_and_those_taken():
  assert fields(outer) == {'layers': 5, 'device': 'cpu', 'scale': 1.0}
  assert fields(Outer, ('size', 'device')) == {
    'width': 2,
    'scale': 1.0,
    'layers': 3,
  }


def test_no_variadic_argument_is_left_in_the_signature():
  kinds = [p.kind for p in inspect.signature(outer).parameters.values()]
  assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_arguments_reach_the_inner_function():
  assert outer(1, scale=0.5).numbers == (1, 0.5, 5, 'cpu')
  part = Part(Outer, width=7, layers=9)
  built = part(size=4, device='gpu')
  assert built.width == 7 and built.inner.numbers == (4, 1.0, 9, 'gpu')


def test_limits_are_taken_too():
  with pytest.raises(RegistryError) as error:
    Part(outer, scale=-1.0)(size=1)
  assert str(error.value) == 'config.outer.scale = -1.0: must be at least 0.'


def test_a_misspelt_argument_is_refused():
  with pytest.raises(TypeError, match="unexpected keyword argument 'scal'"):
    outer(1, scal=0.5)


def test_sizes_of_what_is_taken_are_taken_too():
  class Inner:
    sizes: ClassVar = {'1m': {'width': 2, 'depth': 3}}

    def __init__(self, *, width: int = 1, depth: int = 1): ...

  class Middle:
    sizes: ClassVar = {'1m': {'own': 5}}

    @takes(Inner)
    def __init__(self, *, own: int = 1, **inner): ...

  # One that it names itself is its own.
  @takes(Middle)
  def last(*, depth: int = 7, **middle): ...

  assert sizes.of(Middle, '1m') == {'width': 2, 'depth': 3, 'own': 5}
  assert sizes.of(last, '1m') == {'width': 2, 'own': 5}
  assert sizes.of(Inner, '12m') == sizes.of(last, '12m') == {}
