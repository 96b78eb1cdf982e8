"""Division of saved steps among several replays."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamer_nnx.replay import index as index_form

# Numbers of chunks that a process can give, so that no two give the same.
RANGE = 10**7


def age(ident: int) -> tuple[int, int]:
  """Sort key of chunks of all processes, whose numbers grow at one pace."""
  return ident % RANGE, ident


def prefix(process: int) -> str:
  """Folder of a process, below that of all."""
  return f'process_{process}/' if process else ''


def writer(name: str) -> int:
  """Process that wrote a file."""
  folder, _, _ = name.rpartition('/')
  return int(folder.removeprefix('process_')) if folder else 0


def files(index: Mapping[str, Any]) -> set[str]:
  """Names of all files that an index needs."""
  if index.get('version', 1) > 1:
    return set(index.get('files', ()))
  return {name for chunk in index['chunks'] for name in chunk[2:] if name}


def next_id(given: int, index: Mapping[str, Any]) -> int:
  """Number of the next chunk, higher than those of an index.

  Args:
    given: The number without the index; in the range of the process.
  """
  numbers = [chunk[1] % RANGE + 1 for chunk in index['chunks']]
  least = max(numbers, default=0), index.get('next', 0), given % RANGE
  return given - given % RANGE + max(least)


def share_of(
  indices: Sequence[Mapping[str, Any]], share: int, shares: int
) -> Mapping[str, Any]:
  """Makes the index of one share of the steps that `indices` name.

  As many shares as indices are these indices. Otherwise the chunks are ordered
  by stream, each by age, and cut into parts of equal size, so that few
  sequences are cut. Together the shares have every chunk once.

  Raises:
    IndexFormError: One of them is not of the form of an index.
  """
  for index in indices:
    index_form.check(index)
  if len(indices) == shares:
    return indices[share]
  chunks = [
    ((process, chunk[0] % index['layout'][0], age(chunk[1])), chunk)
    for process, index in enumerate(indices)
    for chunk in index['chunks']
  ]
  chunks = [chunk for _, chunk in sorted(chunks, key=lambda pair: pair[0])]
  begin, end = (len(chunks) * i // shares for i in (share, share + 1))
  youngest = max((chunk[1] % RANGE for chunk in chunks), default=-1)
  return {
    'version': indices[0].get('version', 1),
    'layout': None,
    'chunks': chunks[begin:end],
    'files': sorted(set().union(*map(files, indices))),
    'saves': max(index.get('saves', 0) for index in indices),
    'next': max(youngest + 1, *(index.get('next', 0) for index in indices)),
    'rng': None,
    'counts': None,
  }
