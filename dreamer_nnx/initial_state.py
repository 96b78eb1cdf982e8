"""The state that a new run starts from: fresh, restored in part, imported."""

import collections
from collections.abc import Callable, Collection

import numpy as np

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.interop.pickles import load_reference
from dreamer_nnx.interop.reference import convert
from dreamer_nnx.training import checkpoint, checkpoint_fit
from dreamer_nnx.training.layout import State, module_of
from dreamer_nnx.training.processes import print_once
from dreamer_nnx.training.sharding import put_global
from dreamer_nnx.training.start import Source
from dreamer_nnx.training.step import Learner


def initial_state(learner: Learner, seed: int, source: Source) -> State:
  """Fresh parameters, but for what comes from the source; says what does.

  Raises:
    UserError, OSError: The source cannot be read, or does not fit.
  """
  return learner.init(seed) | taken(learner, source)


def taken(learner: Learner, source: Source) -> State:
  """Arrays of the source; says which. Raises as `initial_state`."""
  if source.reference:
    given = _converted(learner, str(source.reference))
    place = lambda v, like: put_global(v.astype(like.dtype), like.sharding)
    return {k: place(v, learner.abstract[k]) for k, v in given.items()}
  if not source.restore:
    return {}
  part = checkpoint.partial(
    source.restore,
    learner.abstract,
    source.include,
    source.exclude,
    source.step,
  )
  print_once(f'Restored from {source.restore}:')
  print_once(*restored_lines(part.loaded, learner.abstract), sep='\n')
  lines = missing_lines(part.not_loaded, learner.abstract, source)
  print_once('Not restored:', *lines, sep='\n')
  return part.state


def restored_lines(
  loaded: Collection[str], names: Collection[str]
) -> list[str]:
  """A line for each module of which arrays were loaded.

  Args:
    names: All arrays that there are.
  """
  total = _by_module(names)
  return [
    f'  {module}: {_counted(count, total[module])}'
    for module, count in sorted(_by_module(loaded).items())
  ]


def missing_lines(
  not_loaded: Collection[str], names: Collection[str], source: Source
) -> list[str]:
  """A line for each module and reason of which arrays were not loaded."""
  match = lambda *patterns: checkpoint_fit.matching(names, *patterns)
  included = match(source.include, '')
  wanted = match(source.include, source.exclude)
  reason: Callable[[str], str] = lambda name: (
    'not in the checkpoint'
    if name in wanted
    else 'left out by --restore_exclude'
    if name in included
    else 'not matched by --restore_include'
  )
  reasons = collections.defaultdict(list)
  for name in not_loaded:
    reasons[module_of(name), reason(name)].append(name)
  total = _by_module(names)
  return [
    f'  {module}: {_counted(len(found), total[module])}, {why}'
    for (module, why), found in sorted(reasons.items())
  ] or ['  none']


def _counted(count: int, total: int) -> str:
  return f'{count} of {total} array{"s" if total > 1 else ""}'


def _by_module(names: Collection[str]) -> dict[str, int]:
  return collections.Counter(map(module_of, names))


def _converted(learner: Learner, reference: str) -> dict[str, np.ndarray]:
  try:
    arrays = load_reference(paths.parse(reference, '--import_reference'))
    return convert(arrays, learner.abstract)
  except ValueError as error:
    raise UserError(str(error), '--import_reference') from error
