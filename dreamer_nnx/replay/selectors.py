"""The selectors of a replay; importing this registers the built-in ones."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from dreamer_nnx.contracts import Selector
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.replay import curious as curious
from dreamer_nnx.replay import priority as priority
from dreamer_nnx.replay import recency as recency
from dreamer_nnx.replay import uniform as uniform
from dreamer_nnx.replay.chunks import ChunkPool


class Selectors:
  """Selectors by name, one of which is drawn for each sequence of a batch.

  Their columns become those of the pool.
  """

  def __init__(self, pool: ChunkPool, selectors: Mapping[str, Selector]):
    self._pool = pool
    self._named = dict(selectors)
    shares = [selector.share for selector in selectors.values()]
    self._cumulative = np.cumsum(shares) / np.sum(shares)
    for selector in selectors.values():
      pool.add_columns(selector.columns)

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws (count,) starts.

    Raises:
      ValueError: A selector returned something else.
    """
    if len(self._named) == 1:
      ((name, _),) = self._named.items()
      return self._select(name, rng, count)
    which = self._cumulative[:-1].searchsorted(rng.random(count), side='right')
    rows = np.empty(count, np.int64)
    for index, name in enumerate(self._named):
      chosen = which == index
      if chosen.any():
        rows[chosen] = self._select(name, rng, int(chosen.sum()))
    return rows

  def update(
    self,
    rows: np.ndarray,
    alive: np.ndarray,
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Passes on the signals that each wants, for steps where all are finite.

    Args:
      rows, alive: (B, T).
      signals: (B, T) by name.

    Raises:
      ValueError: One that is wanted is absent, or has another shape.
    """
    for name, selector in self._named.items():
      if not hasattr(selector, 'update'):
        continue
      wanted, usable = {}, alive
      for signal in selector.wants:
        if np.shape(signals.get(signal)) != rows.shape:
          raise ValueError(
            f'replay: the signal {signal!r}, which the selector {name!r} '
            f'wants, is {np.shape(signals.get(signal))}, not {rows.shape}.'
          )
        wanted[signal] = np.asarray(signals[signal])
        usable = usable & np.isfinite(wanted[signal])
      if usable.any():
        selector.update(rows, usable, wanted)

  def state(self) -> dict[str, Any]:
    """JSON-able states by name; brings the columns up to date."""
    return {
      name: selector.state()
      for name, selector in self._named.items()
      if hasattr(selector, 'state')
    }

  def restore(self, states: Mapping[str, Any]) -> None:
    """Restores those that there is a state of."""
    for name, selector in self._named.items():
      if name in states and hasattr(selector, 'restore'):
        selector.restore(states[name])

  def _select(
    self, name: str, rng: np.random.Generator, count: int
  ) -> np.ndarray:
    rows = np.asarray(self._named[name].select(rng, count))
    good = rows.shape == (count,) and rows.dtype.kind in 'iu'
    if not good or (rows < 0).any() or not self._pool.is_start(rows).all():
      raise ValueError(
        f'replay: the selector {name!r} must draw ({count},) rows that are '
        f'starts, and returned {rows!r}.'
      )
    return rows


def make(
  choices: Choices, pool: ChunkPool, context: int, signals: Collection[str]
) -> Selectors:
  """Makes the selectors that have a share.

  Args:
    context: Steps of a window before those that are trained on.
    signals: Names of what `update` will be told.

  Raises:
    UserError: None has a share; one wants a signal that there is not; two have
      a column of the same name.
  """
  made, owners = {}, {}
  for choice in shared(choices):
    selector = choice(pool=pool, context=context)
    _check_wants(choice, selector, signals)
    for column, (dtype, _) in selector.columns.items():
      _check_column(choice, column, dtype, owners)
      owners[column] = choice.name
    made[choice.name] = selector
  return Selectors(pool, made)


def shared(choices: Choices) -> list[Choice]:
  """The choices that have a share.

  Raises:
    UserError: None has.
  """
  found = [x for x in choices if x.values().get('share', 1.0) > 0]
  if not found:
    raise UserError(
      'nothing draws sequences. Name one that has a share above 0, such as '
      'uniform.',
      'selectors.names',
      choices.names,
    )
  return found


def step_bytes(choices: Choices) -> int:
  """Memory of a step in the selectors, as far as their builders tell it."""
  return sum(getattr(x.builder, 'step_bytes', 0) for x in shared(choices))


def _check_wants(
  choice: Choice, selector: Selector, signals: Collection[str]
) -> None:
  for signal in selector.wants:
    if signal not in signals:
      known = ', '.join(map(repr, sorted(signals))) or 'none'
      raise UserError(
        f'it needs the signal {signal!r}, which nothing gives. Signals of the '
        f'losses and of this behavior: {known}.',
        choice.path,
      )


def _check_column(
  choice: Choice, column: str, dtype: Any, owners: Mapping[str, str]
) -> None:
  if column in owners:
    raise UserError(
      f'it keeps a column {column!r}, and so does {owners[column]!r}. Rename '
      'one, or choose one of the two.',
      choice.path,
    )
  if np.dtype(dtype).kind not in 'biuf':
    raise UserError(
      f'its column {column!r} is {np.dtype(dtype).name}: columns are bool, '
      'int or float.',
      choice.path,
    )
