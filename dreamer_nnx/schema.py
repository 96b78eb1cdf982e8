"""The signature is the schema: config fields of a builder, and their types.

A builder is a class or function. What its caller passes is *given*; its other
arguments are its config *fields*: keyword-only, each with a default, which
says the type. Errors say where (the config path), what, got, and remedy.
"""

import abc
import dataclasses
import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

from dreamer_nnx.errors import UserError

Builder = Callable[..., Any]
KEYWORD = inspect.Parameter.KEYWORD_ONLY
EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
SCALARS = (bool, int, float, str)
FLOAT32_MAX = 3.4028234e38


class RegistryError(UserError):
  """A name, field or builder that does not fit its slot."""


def suggest(word: str, options: Iterable[str]) -> str:
  """Returns ` Did you mean 'x'?`, or nothing where no option is close."""
  close = difflib.get_close_matches(str(word), sorted(options), n=1)
  return f' Did you mean {close[0]!r}?' if close else ''


def pick(table: Mapping[str, Any], name: str, where: str) -> Any:
  """Looks `name` up in a closed vocabulary.

  Raises:
    UserError: The table has no such name; `where` is the field it is of.
  """
  if name in table:
    return table[name]
  known = ', '.join(map(repr, sorted(table)))
  text = f'no such name.{suggest(name, table)} Known: {known}.'
  raise UserError(text, where, name)


@dataclasses.dataclass(frozen=True)
class Imports:
  """Marks a field by which code is run: `make: Annotated[str, Imports()] = ''`.

  What its value names is imported, or called with it. A saved config that
  sets the field is refused unless it is trusted.

  Args:
    mark: Only texts that contain it do so; empty for all but the empty value.
  """

  mark: str = ''

  def holds(self, value: Any) -> bool:
    """Tells whether this value makes code run."""
    return bool(value) and (not isinstance(value, str) or self.mark in value)


@dataclasses.dataclass(frozen=True)
class Range:
  """Limits a number, or each number of a tuple.

    units: Annotated[int, Range(1)] = 1024

  Args:
    low, high: Inclusive.
    above, below: Exclusive.
    length: A tuple has at least so many elements.
    zero: 0 is taken, too.
  """

  low: float = -math.inf
  high: float = math.inf
  above: float = -math.inf
  below: float = math.inf
  length: int = 0
  zero: bool = False

  def refuse(self, value: Any) -> str:
    """Says what is wrong with the value; empty if nothing is."""
    if isinstance(value, tuple):
      if len(value) < self.length:
        return f'must have at least {_count(self.length, "element")}.'
      return next(filter(None, map(self.refuse, value)), '')
    if self.zero and value == 0:
      return ''
    fits = self.low <= value <= self.high and self.above <= value <= self.below
    open_ends = [x for x in (self.above, self.below) if math.isfinite(x)]
    return '' if fits and value not in open_ends else f'must be {self}.'

  def __str__(self) -> str:
    limits = [
      ('at least', self.low),
      ('above', self.above),
      ('at most', self.high),
      ('below', self.below),
    ]
    text = ' and '.join(
      f'{words} {limit:.17g}' if limit == int(limit) else f'{words} {limit!r}'
      for words, limit in limits
      if math.isfinite(limit)
    )
    return f'{text}, or 0' if self.zero else text


@dataclasses.dataclass(frozen=True, init=False)
class OneOf:
  """Limits a field, or each element of a tuple, to some values.

  storage: Annotated[str, OneOf('memory', 'disk')] = 'memory'
  """

  options: tuple[Any, ...]

  def __init__(self, *options: Any):
    object.__setattr__(self, 'options', options)

  def refuse(self, value: Any) -> str:
    """Says what is wrong with the value; empty if nothing is."""
    elements = value if isinstance(value, tuple) else (value,)
    wrong = [x for x in elements if x not in self.options]
    if not wrong:
      return ''
    known = ', '.join(map(repr, self.options))
    return f'must be one of {known}.{suggest(wrong[0], map(str, self.options))}'

  def __str__(self) -> str:
    return f'one of {", ".join(map(repr, self.options))}'


# The largest number in 32 bits; the longest side of an image, in pixels.
INT32, SIDE = 2**31 - 1, 4096
# Common ranges: a count; height and width; a part of a whole; a weight; a
# number that keeps a divisor from 0, in float32.
Count = Annotated[int, Range(1)]
Pixels = Annotated[tuple[int, ...], Range(1, SIDE, length=2)]
Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0)]
Epsilon = Annotated[float, Range(1e-37)]


@dataclasses.dataclass(frozen=True)
class Limited:
  """A default of the config tree itself, with its limits."""

  default: Any
  limits: tuple[Range | OneOf, ...]


def _count(number: int, what: str) -> str:
  return f'{number} {what}{"s" * (number != 1)}'


class Deferred(abc.ABC):
  """A field that is itself a call, or several, and has fields of its own."""

  @abc.abstractmethod
  def at(self, where: str) -> Self:
    """The same call, found at another config path."""

  @abc.abstractmethod
  def accepts(self, value: Any) -> bool:
    """Tells whether `value` can stand where this is the default."""

  @property
  @abc.abstractmethod
  def kind(self) -> str:
    """Names what a value has to be, with the article."""


def fields(
  builder: Builder, given: Iterable[str] | None = None
) -> dict[str, Any]:
  """The config fields of a builder, and their defaults.

  Args:
    given: What the caller passes; without it, every argument that has no
      default. All init fields of a dataclass that have defaults are fields.

  Raises:
    RegistryError: The signature cannot be a schema.
  """
  result = {}
  for name, parameter in parameters(builder).items():
    required = parameter.default is parameter.empty
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
      _refuse(builder, name, 'is passed by keyword; move it behind the `/`.')
    if parameter.kind not in (KEYWORD, EITHER):
      _refuse(
        builder, str(parameter), 'would swallow typos; name every argument.'
      )
    if name in given if given is not None else required:
      continue
    if required:
      _refuse(
        builder,
        name,
        'is not given to this slot and has no default; give it '
        f'one, or take one of: {", ".join(given) or "nothing"}.',
      )
    if parameter.kind is EITHER and not dataclasses.is_dataclass(builder):
      _refuse(
        builder,
        name,
        'is a config field; move it behind the `*` so that it is keyword-only.',
      )
    result[name] = _default(builder, parameter)
  return result


def imports(builder: Builder) -> dict[str, Imports]:
  """The fields of a builder that `Imports` marks."""
  marks = _marks(builder)
  if marks is None:
    # Any field may be marked.
    return dict.fromkeys(parameters(builder), Imports())
  return {
    name: mark
    for name, found in marks.items()
    for mark in found
    if isinstance(mark, Imports)
  }


def limits(builder: Builder) -> dict[str, tuple[Range | OneOf, ...]]:
  """Limits of the fields of a builder, by their annotations."""
  return {
    name: tuple(mark for mark in found if isinstance(mark, Range | OneOf))
    for name, found in (_marks(builder) or {}).items()
  }


def check(
  value: Any, limits: Iterable[Range | OneOf], default: Any, where: str
) -> None:
  """Refuses a value out of its limits, and numbers that are not finite.

  Raises:
    RegistryError: It is; infinity is refused where the default is finite.
  """
  if not _all(_finite, value) and _all(_finite, default):
    raise RegistryError('must be a finite number.', where, value)
  if not _all(lambda number: number == number, value):
    raise RegistryError('must be a number.', where, value)
  for limit in limits:
    if why := limit.refuse(value):
      raise RegistryError(why, where, value)


def _finite(number: float) -> bool:
  # Larger ones are infinite where they are computed with.
  return abs(number) <= FLOAT32_MAX


def _all(test: Callable[[float], bool], value: Any) -> bool:
  """Tells whether the floats that a value is, or has, pass a test."""
  if isinstance(value, tuple):
    return all(_all(test, element) for element in value)
  return not isinstance(value, float) or test(value)


@functools.cache
def _marks(builder: Builder) -> dict[str, tuple[Any, ...]] | None:
  """Annotations beside the types; None if they cannot be read."""
  function = builder.__init__ if inspect.isclass(builder) else builder
  try:
    hints = get_type_hints(function, include_extras=True)
  except (NameError, TypeError, AttributeError):
    # Annotations that only type checkers can read.
    return None
  return {
    name: get_args(hint)[1:]
    for name, hint in hints.items()
    if get_origin(hint) is Annotated
  }


def _refuse(builder: Builder, what: str, why: str) -> None:
  raise RegistryError(
    f'{builder.__module__}.{builder.__qualname__}: argument {what} {why}'
  )


def parameters(builder: Builder) -> Mapping[str, inspect.Parameter]:
  if not inspect.isclass(builder):
    return inspect.signature(builder).parameters
  if builder.__init__ is object.__init__:
    return {}
  # Metaclasses such as that of nnx.Module hide the signature of the class.
  signature = inspect.signature(builder.__init__)
  return dict(list(signature.parameters.items())[1:])


def _default(builder: Builder, parameter: inspect.Parameter) -> Any:
  name, default = parameter.name, parameter.default
  if dataclasses.is_dataclass(builder):
    field = {f.name: f for f in dataclasses.fields(builder)}.get(name)
    if field and field.default_factory is not dataclasses.MISSING:
      default = field.default_factory()
  if default is None:
    _refuse(
      builder,
      name,
      'has the default None, which has no type; write a value '
      "of its type that stands for none, such as 0, 0.0, '' or ().",
    )
  if not _supported(default):
    _refuse(
      builder,
      name,
      f'defaults to a {kind_of(default)}; a config holds '
      'bool, int, float, str, tuples of these, Choice, Choices and Part.',
    )
  return default


def _supported(value: Any) -> bool:
  if type(value) is tuple:
    return not any(isinstance(v, Deferred) or not _supported(v) for v in value)
  return type(value) in SCALARS or isinstance(value, Deferred)


def kind_of(value: Any) -> str:
  return type(value).__name__


def cast(value: Any, default: Any, where: str) -> Any:
  """`value` in the type of `default`: ints become floats, lists tuples.

  The elements of a tuple follow those of the default; where these are of one
  type, the tuple may have any length.

  Raises:
    RegistryError: It is of another type; a bool is not an int.
  """
  if type(default) is tuple and isinstance(value, (tuple, list)):
    return _cast_tuple(value, default, where)
  if type(default) is float and type(value) is int:
    return float(value)
  if isinstance(default, Deferred):
    fits = default.accepts(value)
  elif isinstance(value, bool):
    fits = type(default) is bool
  else:
    fits = isinstance(value, type(default))
  if fits:
    return value
  raise RegistryError(f'{where} = {value!r}: must be {wanted(default)}.')


def _cast_tuple(value: Iterable, default: tuple, where: str) -> tuple:
  kinds = {type(element) for element in default}
  if not default:
    return _frozen(value, where)
  if kinds == {int, float}:
    default, kinds = (0.0,), {float}
  if len(kinds) == 1:
    default = default[:1] * len(value)
  if len(value) != len(default):
    raise RegistryError(
      f'{where} = {value!r}: must have {len(default)} elements.'
    )
  return tuple(
    cast(v, d, f'{where}[{i}]')
    for i, (v, d) in enumerate(zip(value, default, strict=True))
  )


def _frozen(value: Iterable, where: str) -> tuple:
  result = tuple(
    _frozen(v, where) if isinstance(v, (tuple, list)) else v for v in value
  )
  if not _supported(result):
    raise RegistryError(
      f'{where} = {value!r}: must be a tuple of bool, int, float or str.'
    )
  return result


def wanted(default: Any) -> str:
  """The type that a default asks for, with its article."""
  if isinstance(default, Deferred):
    return default.kind
  return 'an int' if type(default) is int else f'a {kind_of(default)}'
