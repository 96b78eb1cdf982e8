"""Learning rates of parameters, and frozen ones, by patterns of names."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import suggest

# Factors of the learning rate, by name, of parameters (or their updates).
Factors = Callable[[Mapping[str, Any]], Mapping[str, float]]
LISTED = 12


class Groups:
  """Factors of the learning rate, by patterns of names.

  Args:
    lr: The rate of parameters without one of their own.
    rates: 'PATTERN=RATE' each: the rate of all parameters in whose names the
      regular expression PATTERN is found.
    freeze: Patterns of the parameters that stay as they are, whatever `rates`
      say.
    factors: Factors where `rates` say nothing; by default 1.

  Raises:
    UserError: An entry is no such text, or no regular expression; a rate is
      not above 0, or `lr` is 0 beside rates.
  """

  def __init__(
    self,
    lr: float,
    rates: Iterable[str],
    freeze: Iterable[str],
    factors: Factors | None = None,
  ):
    self._freeze = {x: _regex(x, 'freeze', x) for x in freeze}
    self._rates = {x: _rate(x) for x in rates}
    self._factors = factors
    self._lr = lr
    if self._rates and not lr:
      what = 'must be above 0 beside `rates`. Use `freeze` for what stays.'
      raise UserError(what, 'lr', lr)

  @property
  def empty(self) -> bool:
    """Tells whether every parameter has the factor 1."""
    return not (self._rates or self._freeze or self._factors)

  def of(self, params: Mapping[str, Any]) -> dict[str, float]:
    """Computes the factor of every parameter; 0 means frozen.

    Raises:
      UserError: A parameter has two different rates.
    """
    factors = dict.fromkeys(params, 1.0)
    factors |= self._factors(params) if self._factors else {}
    factors |= {k: x / self._lr for k, x in self._own_rates(params).items()}
    for regex in self._freeze.values():
      factors |= dict.fromkeys(filter(regex.search, params), 0.0)
    return factors

  def _own_rates(self, names: Collection[str]) -> dict[str, float]:
    """Rates by name, of the parameters that `rates` name."""
    found: dict[str, str] = {}
    for entry, (regex, rate) in self._rates.items():
      for name in filter(regex.search, names):
        first = found.setdefault(name, entry)
        if self._rates[first][1] != rate:
          what = f'{name} has another rate by {first!r}.'
          raise UserError(what, 'rates', entry)
    return {name: self._rates[entry][1] for name, entry in found.items()}

  def check(self, names: Collection[str]) -> None:
    """Refuses patterns that none of these parameters has.

    Raises:
      UserError: A pattern is found in no name; or as `of`.
    """
    rates = {entry: regex for entry, (regex, _) in self._rates.items()}
    for field, entries in (('rates', rates), ('freeze', self._freeze)):
      for entry, regex in entries.items():
        if not any(map(regex.search, names)):
          raise UserError(_no_match(regex.pattern, names), field, entry)
    self._own_rates(names)

  def scaling(self) -> optax.GradientTransformation:
    """Makes the transformation that multiplies updates by their factors."""

    def update(updates, state, params=None):
      del params
      factors = self.of(updates)
      return {k: _scaled(x, factors[k]) for k, x in updates.items()}, state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def _scaled(update: jax.Array, factor: float) -> jax.Array:
  # Not a product, which would be NaN of an update that is not finite.
  return update * factor if factor else jnp.zeros_like(update)


def _rate(entry: Any) -> tuple[re.Pattern, float]:
  """Parses 'PATTERN=RATE'; the last equals sign separates them."""
  pattern, equals, number = str(entry).rpartition('=')
  if not equals:
    what = "must be 'PATTERN=RATE', such as 'behavior/=3e-5'."
    raise UserError(what, 'rates', entry)
  try:
    rate = float(number)
  except ValueError:
    what = f'{number!r} after the = is no number.'
    raise UserError(what, 'rates', entry) from None
  if not 0 < rate < math.inf:
    what = 'the rate must be above 0 and finite. Use `freeze` for what stays.'
    raise UserError(what, 'rates', entry)
  return _regex(pattern, 'rates', entry), rate


def _regex(pattern: Any, field: str, entry: Any) -> re.Pattern:
  if not isinstance(pattern, str) or not pattern:
    what = 'must have a regular expression. For all parameters, it is `.`.'
    raise UserError(what, field, entry)
  try:
    return re.compile(pattern)
  except re.error as error:
    what = f'is no regular expression: {error}.'
    raise UserError(what, field, entry) from error


def _no_match(pattern: str, names: Collection[str]) -> str:
  """Says which parts of names there are, and which is most like a pattern."""
  places = [name.split('/') for name in names]
  heads = {'/'.join(x[:n]) + '/' for x in places for n in range(1, len(x))}
  known = sorted(x for x in heads if x.count('/') <= 2)
  more = ', ...' if len(known) > LISTED else ''
  return (
    f'is found in the name of no parameter.{suggest(pattern, heads)} Names '
    f'begin with {", ".join(known[:LISTED])}{more}.'
  )
