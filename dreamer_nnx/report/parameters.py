"""The table of arrays of a checkpoint: by their names and shapes alone."""

import collections
import math
from collections.abc import Mapping

from dreamer_nnx.report.runs import Run
from dreamer_nnx.report.sections import Section, Table
from dreamer_nnx.training.record import CheckpointError

Shapes = Mapping[str, tuple[tuple[int, ...], object]]
# Rows of the table of all arrays.
MOST = 2_000
TEXT = (
  'Arrays of the newest checkpoint, without those of the optimiser. Trained '
  'are those that the optimiser keeps moments of.'
)
OPTIMIZER = 'optimizer/'


def section(run: Run) -> Section | None:
  """The arrays of the newest checkpoint; None if there is none."""
  from dreamer_nnx.training import checkpoint_files, checkpoint_reading

  try:
    if not checkpoint_files.kept(run.workdir):
      return None
    found = checkpoint_reading.shapes(run.workdir)
  except CheckpointError as error:
    return Section('Parameters', warnings=[str(error).splitlines()[0]])
  return Section('Parameters', TEXT, tables=tables(found))


def tables(shapes: Shapes) -> list[Table]:
  """Numbers of each module, and every array in a folded table."""
  own = {k: x for k, x in shapes.items() if not k.startswith(OPTIMIZER)}
  # optimizer/1/nu/encoder/...: of the part 1 of a chain, for encoder/...
  moments = (name for name in shapes if name.startswith(OPTIMIZER))
  trained = {'/'.join(name.split('/')[3:]) for name in moments}
  every, learnt = collections.Counter(), collections.Counter()
  for name, (shape, _) in own.items():
    module, inside, _ = name.partition('/')
    module = module if inside else 'counters'
    every[module] += math.prod(shape)
    learnt[module] += math.prod(shape) * (name in trained)
  rows = [(x, f'{n:,}', f'{learnt[x]:,}') for x, n in every.most_common()]
  rows.append(('in all', f'{every.total():,}', f'{learnt.total():,}'))
  arrays = [
    (name, ' × '.join(map(str, shape)), str(dtype), f'{math.prod(shape):,}')
    for name, (shape, dtype) in sorted(own.items())[:MOST]
  ]
  head = 'array', 'shape', 'type', 'numbers'
  title = f'All {len(own)} arrays'
  title += f', of which {MOST} are listed' if len(own) > MOST else ''
  return [
    Table(('module', 'numbers', 'trained'), rows),
    Table(head, arrays, title=title, folded=True),
  ]
