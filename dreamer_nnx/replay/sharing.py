"""What one of several replays takes of what others have saved."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dreamer_nnx.replay import index as forms

# Numbers of chunks that a process can give, so that no two give the same.
RANGE = 10**7


def age(ident: int) -> tuple[int, int]:
  """Orders chunks of all processes by age: they count at the same pace."""
  return ident % RANGE, ident


def prefix(process: int) -> str:
  """The folder of a process, below that of all."""
  return f'process_{process}/' if process else ''


def owner(name: str) -> int:
  """The process that wrote a file."""
  folder, _, _ = name.rpartition('/')
  return int(folder.removeprefix('process_')) if folder else 0


def files(index: Mapping[str, Any]) -> set[str]:
  """All files that an index needs."""
  return {name for chunk in index['chunks'] for name in chunk[2:] if name}


def shared(
  indices: Sequence[Mapping[str, Any]], share: int, shares: int
) -> Mapping[str, Any]:
  """The index of one share of what `indices` name.

  As many shares as indices are these indices. Otherwise the chunks are laid
  out stream by stream, each by age, and cut into parts of equal size, so that
  few sequences are cut. Together the shares have every chunk once.

  Raises:
    IndexFormError: One of them is not of the form of an index.
  """
  for index in indices:
    forms.check(index)
  if len(indices) == shares:
    return indices[share]
  chunks = [
    ((process, chunk[0] % index['layout'][0], age(chunk[1])), chunk)
    for process, index in enumerate(indices)
    for chunk in index['chunks']
  ]
  chunks = [chunk for _, chunk in sorted(chunks, key=lambda pair: pair[0])]
  begin, end = (len(chunks) * i // shares for i in (share, share + 1))
  return {
    'layout': None,
    'chunks': chunks[begin:end],
    'saves': max(index.get('saves', 0) for index in indices),
    'retired': {
      name: since
      for index in indices
      for name, since in index.get('retired', {}).items()
      if owner(name) % shares == share
    },
    'rng': None,
    'counts': None,
  }


def strays(
  directory: str,
  indices: Sequence[Mapping[str, Any]],
  share: int,
  shares: int,
) -> list[str]:
  """Files that no index needs, of the folders that fall to a share."""
  needed = set().union(*map(files, indices))
  root = pathlib.Path(directory)
  folders = [(0, root)]
  for folder in sorted(root.glob('process_*')):
    folders.append((owner(f'{folder.name}/'), folder))
  return [
    name
    for process, folder in folders
    if process % shares == share
    for path in sorted(folder.iterdir())
    if path.is_file() and (name := prefix(process) + path.name) not in needed
  ]
