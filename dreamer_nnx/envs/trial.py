"""A trial of environments: plays them, and finds what breaks their contract.

All findings are made from what training would see, of environments that are
made as for training; `probe` looks at what is behind them.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dreamer_nnx import notices, spaces
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs import playing, rules
from dreamer_nnx.envs.comparing import Comparison
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.pacing import TOLERANCE, PacedVectorEnv
from dreamer_nnx.envs.playing import Account, Action
from dreamer_nnx.envs.probe import probed
from dreamer_nnx.envs.rules import ERROR, NOTE, WARNING, Finding, Step
from dreamer_nnx.envs.vector import RESTARTED, GymVectorEnv
from dreamer_nnx.envs.wrapped import innermost
from dreamer_nnx.spacetypes import Space

# Steps of each environment; of each comparison, and of the probe.
STEPS, SHORT_STEPS, COMPARED, PROBED = 1000, 60, 50, 100
# Whole episodes of one length that are no chance.
ALIKE = 5
# Seconds of the long play, of the comparisons and of the probe, each, for
# environments that are slow.
SECONDS = 300.0
# Share of late steps that is no matter.
RARE = 0.05
# Steps that are played on from a state.
RESUMED = 7
PACKAGE, FAULT = 'dreamer_nnx', 'fault: '

Make = Callable[[int], VectorEnv]


class Known(NamedTuple):
  """Facts about the ends of episodes, before they are tried.

  Args:
    field: Config path of the field that cuts them; '' if there is none.
    limit: What it says; 0 for no limit.
    sound: Whether those by a terminal are surely meant.
  """

  field: str = ''
  limit: float = 0
  sound: bool = False


NOTHING = Known()


@dataclasses.dataclass
class Trial:
  """The result of a trial.

  Args:
    account: Of the long play; None if the environments did not start.
    times: Seconds of its steps, without waiting, at a fixed rate; else empty.
  """

  findings: list[Finding]
  num_envs: int = 0
  account: Account | None = None
  times: Sequence[float] = ()
  obs_space: Mapping[str, Space] = dataclasses.field(default_factory=dict)
  action_space: Mapping[str, Space] = dataclasses.field(default_factory=dict)

  @property
  def errors(self) -> int:
    return sum(finding.level == ERROR for finding in self.findings)

  @property
  def faults(self) -> int:
    """Number of breakdowns, after which no more was played."""
    return sum(finding.about.startswith(FAULT) for finding in self.findings)

  def add(self, *findings: Finding) -> None:
    """Adds findings, each about something else than those before."""
    for finding in findings:
      if finding.about not in {x.about for x in self.findings}:
        self.findings.append(finding)


def run(
  make: Make, seed: int, steps: int = STEPS, known: Known = NOTHING
) -> Trial:
  """Plays environments and looks for what breaks their contract.

  Args:
    make: Makes W environments from a seed; called several times, after those
      before are closed.
    steps: Steps of each environment by random actions.
    known: Facts about what `make` makes.

  Raises:
    UserError: They cannot be made as the config asks.
  """
  trial = Trial([])
  with warnings_in(trial):
    envs = _made(trial, make, seed)
    if envs is None:
      return trial
    with contextlib.closing(envs):
      _play(trial, envs, steps, known)
    _probe(trial, envs, seed, min(steps, PROBED))
    if not trial.errors:
      _compare(trial, make, seed, min(steps, COMPARED))
  return trial


@contextlib.contextmanager
def warnings_in(trial: Trial) -> Iterator[None]:
  """Makes findings of the warnings that the adapters log, and shows none."""

  class Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
      text = record.getMessage()
      # Those are findings of their own.
      if rules.KEPT not in text:
        noted = record.name == notices.__name__
        about = text if noted else record.msg
        trial.add(Finding(NOTE if noted else WARNING, about, text))

  logger, handler = logging.getLogger(PACKAGE), Keep()
  propagated, logger.propagate = logger.propagate, False
  logger.addHandler(handler)
  try:
    yield
  finally:
    logger.removeHandler(handler)
    logger.propagate = propagated


def _made(trial: Trial, make: Make, seed: int) -> VectorEnv | None:
  try:
    envs = make(seed)
  except EnvError as error:
    trial.add(_fault(error))
    return None
  trial.num_envs = envs.num_envs
  trial.obs_space, trial.action_space = envs.obs_space, envs.action_space
  return envs


def _play(trial: Trial, envs: VectorEnv, steps: int, known: Known) -> None:
  look = Look(trial, envs, playing.randomly(envs, 0))
  paced = isinstance(envs, PacedVectorEnv)
  trial.times = envs.timed() if paced else ()
  account = trial.account = look.account
  try:
    playing.play(envs, steps, look.act, look.told, SECONDS, account)
    trial.add(*_resumed(envs, look.held))
    if account.steps < steps:
      what = f'{account.steps} steps were taken, not {steps}, '
      what += f'as there are {SECONDS:g} seconds for them.'
      trial.add(Finding(NOTE, 'steps', what))
  except EnvError as error:
    trial.add(_fault(error))
  count = envs.stats().get('env/restarts', 0)
  _count_restarts(trial, count, f'{account.steps} steps')
  trial.add(*judged(account, envs.obs_space, known))
  # Few steps may be late by chance, but not those that took all the time.
  if paced and (account.steps >= SHORT_STEPS or account.steps < steps):
    trial.add(*_late(trial.times, envs.rate))


def _late(times: Sequence[float], rate: float) -> Iterator[Finding]:
  """A warning if steps take longer than there is between two of them."""
  late = np.asarray(times) > (1 + TOLERANCE) / rate
  if late.sum() > RARE * len(times):
    kept = 1 / np.quantile(times, 1 - RARE)
    yield Finding(
      WARNING,
      'late',
      f'{late.sum()} of {len(times)} steps took longer than the '
      f'{1000 / rate:.3g} ms between two steps that control_rate = {rate:g} '
      'leaves.',
      f'Ask for a rate of {kept:.3g} at most, or make its steps faster.',
    )


def _probe(trial: Trial, envs: VectorEnv, seed: int, steps: int) -> None:
  rate = envs.rate if isinstance(envs, PacedVectorEnv) else 0
  inmost, broken = innermost(envs), trial.errors > 0
  if isinstance(inmost, GymVectorEnv):
    for finding in probed(inmost, seed, steps, SECONDS, rate):
      # A breakdown that is told already is not told again.
      if not broken or finding.level != ERROR:
        trial.add(finding)


def _compare(trial: Trial, make: Make, seed: int, steps: int) -> None:
  comparison = Comparison(make, seed, trial.action_space, steps, SECONDS)
  try:
    trial.add(*comparison.found())
  except EnvError as error:
    trial.add(_fault(error))
  _count_restarts(trial, comparison.restarts, 'the steps of comparisons')


def _count_restarts(trial: Trial, count: float, place: str) -> None:
  """Makes one error of restarts, which a fault that ends all would repeat."""
  first = [x for x in trial.findings if x.about == RESTARTED]
  trial.findings = [x for x in trial.findings if x not in first]
  if count and not trial.faults:
    what = f'{count:g} crashes or hangs in {place}.'
    what += ''.join(f' The first: {x.what}.' for x in first)
    remedy = 'Each cuts an episode off; mend the cause.'
    trial.add(Finding(ERROR, 'restarts', what, remedy))


class Look:
  """Looks at each step of a play for what breaks a rule by itself.

  Attributes:
    held: Copies of the latest step.
  """

  def __init__(self, trial: Trial, envs: VectorEnv, act: Callable) -> None:
    self._trial, self._act, self._space = trial, act, envs.obs_space
    self.held: dict[str, np.ndarray] = {}
    self._given: Action = {}
    self.account = Account()

  def act(self, number: int, step: Step) -> Action:
    action = self._act(number, step)
    self._given = {k: x.copy() for k, x in action.items()}
    return action

  def told(self, before: Step | None, now: Step, action: Action) -> None:
    add, number = self._trial.add, self.account.steps
    if before is None:
      if not now['is_first'].all():
        add(_broken(rules.BEGINS, f'{now["is_first"]}', number))
    else:
      for promise, came in rules.broken_flags(self.held, now):
        add(_broken(promise, came, number))
      add(*_mutated(self.held, before, 'array'))
      add(*_mutated(self._given, action, 'action'))
    for key, space in self._space.items():
      if found := rules.outside(space, now[key]):
        add(_outside(key, space, *found, number))
    self.held = {k: np.array(x) for k, x in now.items()}


def _resumed(envs: VectorEnv, step: Step) -> Iterator[Finding]:
  """Checks that environments with a state go on from it, after a step."""
  state = envs.state()
  if state is None:
    return
  saved, why = rules.as_json(state)
  if why:
    yield _broken(rules.AS_JSON, why)
    return
  rounds = []
  for _ in range(2):
    rounds.append(list(_further(envs, step)))
    envs.restore(saved)
  if not all(map(rules.same, *rounds)):
    yield _broken(rules.GOES_ON)


def _further(envs: VectorEnv, step: Step) -> Iterator[Step]:
  act = playing.randomly(envs, 1)
  for number in range(RESUMED):
    after = envs.step(act(number, step))
    step = {k: np.array(x) for k, x in after.items()}
    yield step


def judged(
  account: Account, obs_space: Mapping[str, Space], known: Known
) -> Iterator[Finding]:
  """Findings from all steps together; all of them may be meant."""
  if account.steps < SHORT_STEPS:
    return
  for key in spaces.encoded(account.keys):
    seen, space = account.keys[key], obs_space.get(key)
    if seen.constant:
      yield Finding(
        WARNING,
        f'constant {key}',
        f'observation {key!r} never changes.',
        'Leave it out, or name it label/* or log/*.',
      )
    elif space and spaces.is_image(space) and seen.high <= 1:
      yield Finding(
        WARNING,
        f'dark {key}',
        f'no pixel of the image {key!r} is above 1, of 255.',
        'Multiply it by 255 if it is a share.',
      )
  yield from _ends(account, known)


def _ends(account: Account, known: Known) -> Iterator[Finding]:
  lengths = {length for length, _, _ in account.ends}
  terminal = all(terminal for _, _, terminal in account.ends)
  if not account.ends and not account.cut:
    what = f'no episode ended within {account.steps} steps'
    if known.limit > account.steps:
      what += f', as {known.field} = {known.limit:g} lets them last longer'
    if known.limit > account.steps or (known.sound and not known.field):
      yield Finding(NOTE, 'endless', f'{what}.')
      return
    by = f'by {known.field}' if known.field else 'in the environment itself'
    remedy = f'Cut them {by}, unless they go on forever.'
    yield Finding(WARNING, 'endless', f'{what}.', remedy)
  elif known.sound:
    return
  elif lengths == {1}:
    yield Finding(
      WARNING,
      'short',
      f'all {len(account.ends)} episodes had a single step.',
      'Look at terminated and truncated of the first step.',
    )
  elif len(lengths) == 1 and terminal and len(account.ends) >= ALIKE:
    yield Finding(
      WARNING,
      'limit',
      f'all {len(account.ends)} episodes ended by a terminal at step '
      f'{lengths.pop()}, as a time limit does.',
      'Right if the task itself ends there. Where only time is up, return '
      'truncated in place of terminated: after a terminal the value is 0.',
    )


def _fault(error: EnvError) -> Finding:
  return Finding(ERROR, f'{FAULT}{error}', str(error))


def _broken(promise: str, came: str = '', step: int = -1) -> Finding:
  place = f'; not so at step {step}' if step >= 0 else ', which is not so'
  what = f'{promise}{place}{came and f": {came}"}.'
  return Finding(ERROR, promise, what, REMEDIES[promise])


REMEDIES = {
  rules.BEGINS: 'Set is_first in the result of reset.',
  rules.FOLLOWS: 'Reset in the step after is_last, which ignores its action.',
  rules.NOTHING_FIRST: 'Give the last reward with is_last, and 0 here.',
  rules.TERMINAL: 'Set is_last wherever is_terminal is set.',
  rules.AS_JSON: 'Return lists and numbers, or None for no state.',
  rules.GOES_ON: 'Save all that later steps depend on, or return None.',
}


def _outside(
  key: str, space: Space, number: float, rows: np.ndarray, step: int
) -> Finding:
  return Finding(
    WARNING,
    f'outside {key}',
    f'observation {key!r} of environment {int(rows.argmax())} is {number} at '
    f'step {step}, outside of its space {space}. {rules.KEPT}',
    'Declare the bounds that it has, or none.',
  )


def _mutated(
  held: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray], what: str
) -> Iterator[Finding]:
  for key, value in held.items():
    floats = value.dtype.kind == 'f'
    if not np.array_equal(value, now[key], equal_nan=floats):
      yield Finding(
        ERROR,
        f'mutated {what} {key}',
        f'the {what} {key!r} of a step was changed by the next step.',
        'Return new arrays, and leave those of actions as they are.',
      )
