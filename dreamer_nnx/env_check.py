"""`--mode=check_env`: the environments of a config, tried without training.

`report` prints all of it; `find` is the short form, for checks of a whole run.
"""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import meanings, schema, spaces, streams, workflow
from dreamer_nnx.agent.build import check_names
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs import trial as trials
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.envs.playing import Account
from dreamer_nnx.envs.rules import ERROR, NOTE, WARNING, Finding
from dreamer_nnx.envs.trial import Known, Trial
from dreamer_nnx.envs.wrapped import is_whole
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.show import lines
from dreamer_nnx.streams import Stream

# Environments that are tried, of those that are trained in.
ENVS = 2
# Times that acting is timed, after it was compiled.
TIMED = 20
# Seconds of a step that nothing waits for.
LEAST = 1e-3
# Fields that may cut episodes off.
LIMITS = ('time_limit', 'length')
# Exit status when there is an error.
STATUS = 2


def report(config: ConfigDict, write: Callable[[str], None]) -> int:
  """Tries the environments and prints what was found, and a summary.

  Returns:
    The exit status: 2 with an error, 0 with warnings alone or nothing.

  Raises:
    UserError: They cannot be made as the config asks.
  """
  parts = configs.bind_all(config)
  steps = trials.STEPS
  write(
    f'Steps {count_of(parts)} of the environments {parts["env"].name!r} '
    f'{steps} times, and further ones for comparison.'
  )
  trial = tried(parts, steps)
  seconds = None
  if trial.account and trial.account.steps and not trial.errors:
    try:
      seconds = acting_seconds(parts, trial)
      rate = parts['env'].values().get('control_rate', 0)
      trial.add(*(late(trial, seconds, rate) if rate else slow(trial, seconds)))
    except UserError as error:
      what = f'no agent can be built for them: {error}'
      trial.add(Finding(ERROR, 'agent', what))
  write('\n'.join(told(trial, seconds)))
  return STATUS if trial.errors else 0


def find(config: ConfigDict, steps: int = trials.SHORT_STEPS) -> list[Finding]:
  """Tries the environments for a few steps; compiles no agent.

  Raises:
    UserError: They cannot be made as the config asks.
  """
  return tried(configs.bind_all(config), steps).findings


def count_of(parts: configs.Bound) -> int:
  return min(ENVS, parts['train']().envs)


def tried(parts: configs.Bound, steps: int) -> Trial:
  """Tries the environments, made as for training, but fewer of them."""

  def make(seed: int) -> VectorEnv:
    drawn = streams.seed(parts['seed'], Stream.ENVS, 0, seed)
    return make_vector_env(parts['env'], count_of(parts), drawn)

  trial = trials.run(make, 0, steps, known(parts['env']))
  try:
    check_names(trial.obs_space, trial.action_space)
  except UserError as error:
    trial.add(Finding(ERROR, 'names', str(error)))
  return trial


def known(choice: Choice) -> Known:
  """Tells what cuts the episodes of environments, and whose ends are sound."""
  builder, values = choice.builder, choice.values()
  # Environments of this package end as they should. Fields that name code make
  # them those of others.
  package, _, _ = __name__.partition('.')
  sound = builder.__module__.split('.')[0] == package
  sound = sound and not schema.imports(builder)
  said = meanings.of(builder)
  for name in LIMITS:
    limit = values.get(name)
    if is_whole(limit) and 'episode' in said.get(name, '').lower():
      return Known(f'{choice.path}.{name}', limit, sound)
  return Known(sound=sound)


def acting_seconds(parts: configs.Bound, trial: Trial) -> float:
  """Median time in which the agent acts once, for all that were tried.

  Raises:
    UserError: The agent does not fit the environments.
  """
  learner = workflow.make_learner(parts, trial.obs_space, trial.action_space)
  device = jax.local_devices()[0]
  # Any parameters take as long.
  acting = {
    name: jax.device_put(np.zeros(x.shape, x.dtype), device)
    for name in learner.layout.acting
    for x in [learner.abstract[name]]
  }
  rows = trial.num_envs
  obs = spaces.zeros(trial.obs_space, rows)
  obs |= {k: np.zeros(rows, bool) for k in spaces.RESERVED}
  obs['reward'] = np.zeros(rows, np.float32)
  key = streams.key(0, Stream.ACT, 0)
  carry, times = learner.initial(rows), []
  for count in range(TIMED + 1):
    begin = time.perf_counter()
    carry, *action = learner.policy(acting, carry, obs, key, count)
    jax.device_get(action)
    times.append(time.perf_counter() - begin)
  return float(np.median(times[1:]))


def slow(trial: Trial, acting: float) -> Iterator[Finding]:
  """A warning if a step takes longer than acting does."""
  step = trial.account.seconds / trial.account.steps
  if step > max(acting, LEAST):
    yield Finding(
      WARNING,
      'slow',
      f'a step of {trial.num_envs} environments takes {1000 * step:.3g} ms, '
      f'acting {1000 * acting:.3g} ms.',
      "Step them in processes of their own (workers = 'async'), more of them "
      'at once, or make them faster.',
    )


def late(trial: Trial, acting: float, rate: float) -> Iterator[Finding]:
  """A warning if a step and acting take longer than there is between two."""
  step = float(np.median(trial.times)) if trial.times else 0.0
  if (acting + step) * rate > 1:
    after = f' after a step of {1000 * step:.3g} ms'
    yield Finding(
      WARNING,
      'late',
      f'acting takes {1000 * acting:.3g} ms{"" if acting * rate > 1 else after}'
      f', and control_rate = {rate:g} has a step every {1000 / rate:.3g} ms.',
      f'Ask for a rate of {1 / (acting + step):.3g} at most, or a smaller '
      'agent.',
    )


def told(trial: Trial, acting: float | None) -> Iterator[str]:
  """The lines of a report: findings, spaces, episodes, speed, the sum."""
  yield from map(str, trial.findings)
  if trial.obs_space:
    yield f'Observations\n{lines(trial.obs_space)}'
    yield f'Actions\n{lines(trial.action_space)}'
  if trial.account and trial.account.steps:
    yield from summary(trial.account, trial.num_envs)
  if acting is not None:
    yield (
      f'Acting for {trial.num_envs} environments takes {1000 * acting:.3g} ms.'
    )
  levels = [finding.level for finding in trial.findings]
  counts = [
    f'{levels.count(level)} {level}{"" if levels.count(level) == 1 else "s"}'
    for level in (ERROR, WARNING, NOTE)
    if levels.count(level)
  ]
  yield ', '.join(counts) + '.' if counts else 'Nothing was found.'


def summary(account: Account, num_envs: int) -> Iterator[str]:
  """Episodes and speed, in words."""
  ends = account.ends
  text = f'{num_envs} environments, {account.steps} steps each: '
  text += f'{len(ends)} whole episodes'
  if ends:
    lengths, returns, terminals = zip(*ends, strict=True)
    text += (
      f', {sum(terminals)} ended by a terminal; lengths {_spread(lengths)}, '
      f'returns {_spread(returns)}'
    )
  low, high = account.rewards
  yield f'{text}; rewards {low:.4g} to {high:.4g}.'
  step = account.seconds / account.steps
  yield (
    f'{num_envs / step:.4g} steps/s of all together, {1000 * step:.3g} ms a '
    'step.'
  )


def _spread(numbers: tuple[float, ...]) -> str:
  low, high = min(numbers), max(numbers)
  return f'{low:.4g} to {high:.4g} (mean {np.mean(numbers):.4g})'
