"""The size presets: what a component declares of them.

A builder has them as the attribute `sizes`, by preset and field:

  class Mine:
    sizes = {'1m': {'units': 64}, '12m': {'units': 256}}

Fields, and presets, that it does not name stay what they are.
"""

import inspect
from collections.abc import Mapping, Sequence

from dreamer_nnx.schema import Builder, RegistryError, cast, fields, suggest

NAMES = ('1m', '12m', '25m', '50m', '100m', '200m', '400m')
# The numbers of the built-ins, one a preset: width of dense layers, width of
# recurrent states, channels of the first convolutions, and classes.
UNITS = (64, 256, 384, 512, 768, 1024, 1536)
DETER = (512, 2048, 3072, 4096, 6144, 8192, 12288)
DEPTH = (4, 16, 24, 32, 48, 64, 96)
CLASSES = DEPTH

Sizes = Mapping[str, Mapping[str, int]]


def by_size(**numbers: Sequence[int]) -> dict[str, dict[str, int]]:
  """Arranges numbers, one a preset, of each field by preset."""
  columns = zip(NAMES, zip(*numbers.values(), strict=True), strict=True)
  return {name: dict(zip(numbers, row, strict=True)) for name, row in columns}


def declared(builder: Builder) -> dict[str, dict[str, int]]:
  """The sizes of a builder: its own, and those of fields that it takes.

  Those of a class are also found at its `__init__`, see `signatures.takes`.
  """
  result = {name: {} for name in NAMES}
  places = [builder.__init__] if inspect.isclass(builder) else []
  for place in (*places, builder):
    found = getattr(place, 'sizes', {})
    # An attribute of another kind is the component's own business.
    for name in found if isinstance(found, Mapping) else ():
      result.setdefault(name, {}).update(found[name])
  return result


def of(builder: Builder, size: str) -> dict[str, int]:
  """Field to value, of what a preset sets in a builder.

  Raises:
    RegistryError: As `check`.
  """
  check(builder)
  return declared(builder)[size]


def check(builder: Builder) -> None:
  """Refuses presets and fields that there are not, and values of other types.

  Raises:
    RegistryError: A builder declares one.
  """
  where = f'{builder.__module__}.{builder.__qualname__}.sizes'
  for name, values in declared(builder).items():
    if name not in NAMES:
      known = ', '.join(NAMES)
      text = f'no such size.{suggest(str(name), NAMES)} Known: {known}.'
      raise RegistryError(text, where, name)
    defaults = fields(builder) if values else {}
    for field, value in values.items():
      if field not in defaults:
        text = f'there is no field {field!r}.{suggest(field, defaults)}'
        raise RegistryError(text, where)
      cast(value, defaults[field], f'{where}[{name!r}][{field!r}]')
