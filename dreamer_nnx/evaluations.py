"""Evaluations of a run: played, told, logged, and kept in the workdir."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import paths, workflow
from dreamer_nnx.training import processes
from dreamer_nnx.training.progress import Progress
from dreamer_nnx.training.step import Learner, State

# By the kind of policy: how it acts, and the group of its metrics.
MODES = {'greedy': 'mode', 'sampled': 'sample'}
GROUPS = {'greedy': 'eval', 'sampled': 'eval_sampled'}


@dataclasses.dataclass(frozen=True)
class Evaluations:
  """Plays whole episodes, prints their returns and appends them to a file.

  Every process calls it alike; the first one prints and writes.

  Args:
    file: A line of JSON is appended for each evaluation.
    stop: Asked after every step whether to end early.
  """

  parts: configs.Bound
  learner: Learner
  file: paths.Path | pathlib.Path
  stop: Callable[[], bool]

  def play(
    self,
    state: State,
    env_steps: int,
    agent: str,
    policy: str,
    progress: Progress,
  ) -> dict[str, float]:
    """Evaluates a state.

    Args:
      agent: What it is, in a word: untrained, trained, restored or imported.
      policy: `greedy` or `sampled`.

    Returns:
      Metrics, in the group of the policy; none if it was stopped early.
    """
    returns = workflow.evaluate_policy(
      self.parts,
      self.learner,
      state,
      MODES[policy],
      self.stop,
      progress.evaluating,
    )
    progress.phase('')
    if processes.anywhere(self.stop()):
      return {}
    processes.print_once(f'Return {agent}, {policy}: {returns}')
    if processes.first():
      line = {'env_steps': env_steps, 'policy': f'{agent}, {policy}'}
      line |= returns.metrics('eval') | {'returns': returns.returns}
      with self.file.open('a') as file:
        file.write(json.dumps(line) + '\n')
    return returns.metrics(GROUPS[policy])


def limit_hint(config: ConfigDict) -> str:
  """Says what to do about episodes that do not end, or nothing."""
  name = config.env.name
  if 'time_limit' not in config.env.get(name, {}):
    return ''
  return f'config.env.{name}.time_limit ends episodes that do not end'
