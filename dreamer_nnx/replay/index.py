"""Checks of a saved index, which names files and is not to be trusted.

Files that an index names are read, and those that it calls retired deleted. So
a name has to be that of a stored file, in the replay's folder or in that of a
process, and numbers have to be in the range of what they count.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dreamer_nnx import versions

NAME = re.compile(
  r'(process_[1-9][0-9]{0,5}/)?([0-9]{10}-[0-9]{6,12}-)?[0-9]{10}\.(data|side)'
)
LIMIT = 2**53
COUNTS = {'inserts', 'samples', 'updates', 'lost'}


class IndexFormError(ValueError):
  """An index that no replay has saved; the message says what is wrong."""


def is_name(value: Any) -> bool:
  """Tells whether a value is the name of a stored file, and no other path."""
  return isinstance(value, str) and bool(NAME.fullmatch(value))


def check(index: Any) -> None:
  """Checks names, types and ranges of all that a saved index holds.

  Raises:
    IndexFormError: An entry is one that no replay saves, or a newer version
      has saved it.
  """
  _require(isinstance(index, Mapping), '', index)
  version = index.get('version', 1)
  _require(type(version) is int and version > 0, 'version', version)
  if what := versions.complaint(version, versions.REPLAY):
    raise IndexFormError(f'replay index: {what}.')
  slots = _check_layout(index)
  _check_chunks(index.get('chunks'), slots, version)
  _check_names(index.get('files', []), 'files')
  retired = index.get('retired', {})
  _require(isinstance(retired, Mapping), 'retired', retired)
  _check_names(retired, 'retired')
  for name, since in retired.items():
    _require(_is_int(since, -LIMIT), f'retired[{name!r}]', since)
  for key in ('saves', 'next'):
    _require(_is_int(index.get(key, 0)), key, index.get(key))
  _check_draws(index, slots)


def check_generator(state: Any) -> None:
  """Checks the saved state of a generator.

  Raises:
    IndexFormError: It is none.
  """
  _require(_is_generator(state), 'rng', state)


def _check_layout(index: Mapping[str, Any]) -> int:
  """Checks sizes; returns the number of slots, which bounds others."""
  layout = index.get('layout')
  good = _are_ints(layout, 1) and len(layout) == 3
  _require(good, 'layout', layout)
  envs, groups, size = layout
  newest = index.get('newest')
  _require(_is_int(newest, -1, groups), 'newest', newest)
  offset = index.get('offset')
  _require(_is_int(offset, 0, size + 1), 'offset', offset)
  _require(isinstance(index.get('open'), bool), 'open', index.get('open'))
  return envs * groups


def _check_chunks(chunks: Any, slots: int, version: int) -> None:
  _require(isinstance(chunks, list), 'chunks', chunks)
  for i, chunk in enumerate(chunks):
    where = f'chunks[{i}]'
    _require(isinstance(chunk, list) and len(chunk) == 4, where, chunk)
    _require(_is_int(chunk[0], 0, slots) and _is_int(chunk[1]), where, chunk)
    for value in chunk[2:]:
      good = _is_int(value, -1) if version > 1 else value is None
      _require(good or (version == 1 and is_name(value)), where, value)
  for column in (0, 1):
    numbers = [chunk[column] for chunk in chunks]
    _require(len(set(numbers)) == len(numbers), 'chunks', 'one comes twice')


def _check_names(names: Any, where: str) -> None:
  _require(isinstance(names, Iterable), where, names)
  for name in names:
    _require(is_name(name), where, name)


def _check_draws(index: Mapping[str, Any], slots: int) -> None:
  """Checks the entries that decide about the next samples."""
  rows = slots * index['layout'][2]
  counts, rng = index.get('counts'), index.get('rng')
  online, long = index.get('online'), index.get('long')
  good = isinstance(counts, Mapping) and counts.keys() == COUNTS
  _require(good and _are_ints([*counts.values()]), 'counts', counts)
  _require(_is_generator(rng), 'rng', rng)
  states = index.get('selectors', {})
  _require(isinstance(states, Mapping), 'selectors', states)
  if online is not None:
    good = isinstance(online, Mapping) and _is_int(online.get('run'))
    _require(good and isinstance(online.get('starts'), list), 'online', online)
    for start in online['starts']:
      good = _are_ints(start) and len(start) == 2 and start[0] < rows
      _require(good, 'online', start)
  if long is not None:
    good = isinstance(long, list) and len(long) == 3 and _is_int(long[2])
    _require(good, 'long', long)
    good = _are_ints(long[0]) and _are_ints(long[1], -1)
    good = good and len(long[0]) == len(long[1])
    _require(good and max(long[0], default=0) < rows, 'long', long)


def _is_generator(state: Any) -> bool:
  """Tells whether a state is one that `generators.to_json` makes of a PCG64."""
  if not isinstance(state, Mapping) or state.get('bit_generator') != 'PCG64':
    return False
  numbers, word = state.get('state'), state.get('uinteger')
  if not isinstance(numbers, Mapping) or numbers.keys() != {'state', 'inc'}:
    return False
  digits = [re.fullmatch('[0-9]{1,39}', str(x)) for x in numbers.values()]
  in_range = all(digits) and max(map(int, numbers.values())) < 2**128
  return (
    in_range and state.get('has_uint32') in (0, 1) and _is_int(word, 0, 2**32)
  )


def _is_int(value: Any, low: int = 0, high: int = LIMIT) -> bool:
  return type(value) is int and low <= value < high


def _are_ints(values: Any, low: int = 0) -> bool:
  return isinstance(values, list) and all(_is_int(x, low) for x in values)


def _require(good: bool, where: str, value: Any) -> None:
  if not good:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f'{shown[:80]}...'
    raise IndexFormError(
      f'replay index: {where or "it"} = {shown}: no replay saves this, so '
      'nothing that it names is read or deleted.'
    )
