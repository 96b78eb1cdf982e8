"""The section of what the newest checkpoint of a run is good for."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dreamer_nnx.report.runs import Run
from dreamer_nnx.report.sections import Chart, Section, Series, Table
from dreamer_nnx.trust import UntrustedError

if TYPE_CHECKING:
  from dreamer_nnx.diagnosis.checkup import Diagnosis
  from dreamer_nnx.diagnosis.latents import Latents
  from dreamer_nnx.diagnosis.unrolling import Errors
  from dreamer_nnx.diagnosis.values import Calibration

TITLE = 'Diagnostics'
NO_CHECKPOINT = (
  'the run has saved no checkpoint yet. It saves one as often as '
  'config.train.save_every says, and at its end.'
)
UNTRUSTED = (
  'the config in the checkpoint names code that is not of this package ({}). '
  'Add --trust_config if you trust whoever made it.'
)
STEP, VALUE = 'step of the sequence', 'predicted value'
# Charts of open-loop errors; further observations have none.
MOST = 12


def section(run: Run, trust: bool, say: Callable[[str], None]) -> Section:
  """Diagnoses the newest checkpoint, or says why that cannot be done.

  Args:
    trust: Whether code that its config names may be imported.
    say: Told what is being done, for it takes a while.
  """
  from dreamer_nnx.diagnosis import checkup
  from dreamer_nnx.trained import Trained
  from dreamer_nnx.training import checkpoint_files

  try:
    if not checkpoint_files.kept(run.workdir):
      return absent(NO_CHECKPOINT)
    trained = Trained(run.workdir, trust_config=trust)
    return described(checkup.diagnose(trained, trust, say))
  except UntrustedError as error:
    return absent(UNTRUSTED.format(', '.join(path for path, _ in error.found)))
  # The page of the logs is worth more than what a checkpoint may lead to.
  except Exception as error:
    return absent(checkup.reason(error))


def absent(why: str) -> Section:
  """The section that only says why there are no diagnostics."""
  return Section(TITLE, f'There are none: {why}')


def described(found: 'Diagnosis') -> Section:
  """The section of a diagnosis."""
  charts = []
  if found.errors is not None:
    charts += _open_loop(found.errors)
  if found.codes is not None:
    charts += _of_codes(found.codes)
  if found.calibration is not None:
    charts += _of_value(found.calibration)
  tables = [Table(('quantity', 'value'), list(_numbers(found)))]
  if found.norms is not None:
    tables.append(_losses(found.losses, found.norms))
  text = '\n'.join(_sentences(found))
  return Section(TITLE, text, charts, tables, warnings=found.warnings)


def _sentences(found: 'Diagnosis') -> Iterator[str]:
  yield f'Of the checkpoint: {found.agent}.'
  if found.errors is not None:
    yield f'Errors, codes and gradients are of steps of {found.source}.'
  if found.calibration is not None:
    yield 'The value is compared with the returns of fresh episodes.'
  yield from found.missing
  count = len(found.errors.imagined) if found.errors is not None else 0
  if count > MOST:
    yield f'{count - MOST} more predictions have no chart of their errors here.'


def _open_loop(errors: 'Errors') -> Iterator[Chart]:
  """Errors of reward and continuation, then those of observations."""
  steps = np.arange(1.0, len(errors.count) + 1)
  first = ('reward', 'cont')
  names = sorted(errors.imagined, key=lambda x: (x not in first, x))
  note = f'nothing is seen after step {errors.seen}'
  kinds = (
    ('observed', errors.observed, 'dashes'),
    ('nothing changes', errors.still, 'dashes'),
    ('imagined', errors.imagined, 'line'),
  )
  for name in names[:MOST]:
    series = [
      Series(label, {STEP: steps}, values[name], mark=mark)
      for label, values, mark in kinds
    ]
    yield Chart(f'Open-loop error: {name}', series, note)


def _of_codes(codes: 'Latents') -> Iterator[Chart]:
  if codes.kl.size:
    steps = np.arange(1.0, codes.kl.size + 1)
    yield Chart('KL by step', [Series('', {STEP: steps}, codes.kl)], 'in nats')
  if codes.used.size:
    used = np.sort(codes.used)[::-1]
    x = {'latent variable, the most used first': np.arange(1.0, used.size + 1)}
    note = f'of at most {codes.codes}'
    yield Chart('Codes in use', [Series('', x, used, mark='bars')], note)


def _of_value(value: 'Calibration') -> Iterator[Chart]:
  if not np.isfinite(value.centers).any():
    return
  x = {VALUE: value.centers}
  known = Series('returns', x, value.mean, low=value.low, high=value.high)
  right = Series('as predicted', x, value.centers, mark='dashes')
  note = 'mean and quartiles of the discounted returns that followed'
  yield Chart('Calibration of the value', [right, known], note)


def _numbers(found: 'Diagnosis') -> Iterator[tuple[str, str]]:
  yield 'first array that is not finite', found.bad or 'none'
  if (errors := found.errors) is not None:
    yield 'sequences looked at', f'{errors.count.max(initial=0)}'
  if (codes := found.codes) is not None and codes.used.size:
    yield 'latent variables', f'{codes.used.size}'
    yield 'codes in use of each, on average', _short(codes.used.mean())
    yield 'variables that never change', f'{codes.constant:.0%}'
    yield 'nats that the codes of a step tell', _short(codes.told)
  if (value := found.calibration) is not None and value.returns.size:
    yield 'steps of episodes played', f'{value.returns.size:,}'
    yield 'value, on average too high by', _short(value.bias)
    yield 'value, root mean square error', _short(value.error)
    yield 'returns for each 1 of value', _short(value.slope)


def _losses(
  losses: Mapping[str, np.ndarray], norms: Mapping[str, float]
) -> Table:
  """The largest gradient first; what is not finite before all."""
  order = sorted(norms, key=lambda k: (np.isfinite(norms[k]), -norms[k]))
  rows = [
    (name, _short(losses[name].mean()) if name in losses else '', norm)
    for name in order
    if (norm := _short(norms[name]))
  ]
  head = 'loss', 'mean, unscaled', 'norm of its scaled gradient'
  return Table(head, rows, 'Gradients by loss')


def _short(value: float) -> str:
  return f'{value:,.3g}'
