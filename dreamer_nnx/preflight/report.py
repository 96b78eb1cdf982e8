"""The table of a check, and what follows from it."""

from collections.abc import Callable

from dreamer_nnx import env_check, workflow
from dreamer_nnx.preflight import programs
from dreamer_nnx.preflight.request import Request
from dreamer_nnx.preflight.survey import Survey
from dreamer_nnx.preflight.table import Row, Table, amount
from dreamer_nnx.training import devices

LONG = (
  'Compiled, which may take minutes; a run finds the programs in its cache, '
  'if it has one'
)


def report(request: Request, write: Callable[[str], None]) -> int:
  """Prints a row for each thing that was looked at.

  An error before anything is compiled ends it there.

  Returns:
    The exit status: 2 if the run would fail, else 0.
  """
  table = Table(write)
  table.head('Before compiling')
  survey = Survey(request, table)
  survey.look()
  if not table.errors and request.compiling:
    _compile(survey)
  write('The run would fail.' if table.errors else 'The run can begin.')
  return env_check.STATUS if table.errors else 0


def _compile(survey: Survey) -> None:
  table, learner, train = survey.table, survey.learner, survey.train
  if survey.request.processes > 1:
    text = 'Only processes that have joined can compile what they share.'
    table.add(Row('programs', text))
    return
  table.head(LONG)
  envs, _ = workflow.shares(train, 1)
  found = {}
  with (
    table.of('programs'),
    devices.explaining_memory(train.batch_size, train.batch_length),
  ):
    for name, sizes, seconds in programs.compiled(learner, survey.batch, envs):
      found[name] = sizes
      table.add(Row(name, f'{_said(sizes)}; {seconds:.1f} s'))
    need = programs.together(found, learner)
    table.add(*survey.memory(need))


def _said(sizes: programs.Sizes) -> str:
  texts = (f'{name} {amount(count)}' for name, count in sizes._asdict().items())
  return ', '.join(texts)
