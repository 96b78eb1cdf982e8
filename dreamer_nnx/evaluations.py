"""Evaluations of a run: played, printed, logged, and kept in the workdir."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Collection, Mapping

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import paths, workflow
from dreamer_nnx.recording import Recorder
from dreamer_nnx.registry import branch
from dreamer_nnx.training import processes
from dreamer_nnx.training.checkpoint_files import FOLDER
from dreamer_nnx.training.evaluate import Returns
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.progress import Progress
from dreamer_nnx.training.record import Record
from dreamer_nnx.training.step import Learner

# For each kind of policy: its mode of acting, and the group of its metrics.
MODES = {'greedy': 'mode', 'sampled': 'sample'}
GROUPS = {'greedy': 'eval', 'sampled': 'eval_sampled'}


@dataclasses.dataclass
class Evaluations:
  """Plays whole episodes, prints their returns and appends them to a file.

  Every process calls it alike; the first one prints and writes.

  Args:
    file: A line of JSON is appended for each evaluation.
    stop: Asked after every step whether to end early.
    videos: Folder of this machine for a video of each; None for none.

  Attributes:
    incomplete: Whether the last one had fewer episodes than it should.
  """

  parts: configs.Bound
  learner: Learner
  file: paths.Path | pathlib.Path
  stop: Callable[[], bool]
  videos: pathlib.Path | None = None
  incomplete: bool = False

  def __post_init__(self):
    self._recorder = None
    if self.videos:
      self._recorder = Recorder(self.parts, self.learner, self.videos)

  def play(
    self,
    state: State,
    env_steps: int,
    agent: str,
    policy: str,
    progress: Progress,
    counted: Mapping[str, int] | None = None,
    number: int = 0,
  ) -> dict[str, float]:
    """Evaluates a state.

    Args:
      number: Of the checkpoint that the state is of, for the video.
      counted: Further counters for the file, beside `env_steps`.
      agent: The agent in a word: untrained, trained, restored or imported.
      policy: `greedy` or `sampled`.

    Returns:
      Metrics, in the group of the policy; none if it was stopped early or is
      incomplete.
    """
    self.incomplete = False
    with contextlib.ExitStack() as stack:
      progress.phase('preparing the evaluation')
      made = workflow.make_eval_envs(self.parts)
      envs, how = stack.enter_context(contextlib.closing(made)), {}
      if self._recorder:
        video = self._recorder.open(state, GROUPS[policy], number)
        how['watch'] = stack.enter_context(video).watch
      returns = workflow.evaluate_policy(
        self.parts,
        self.learner,
        state,
        MODES[policy],
        self.stop,
        progress.evaluating,
        envs,
        **how,
      )
      progress.phase('')
      if processes.anywhere(self.stop()):
        return {}
      stats = workflow.env_metrics(envs)
      # Before the environments are closed, which may hang.
      counters = {'env_steps': env_steps} | dict(counted or {})
      self._tell(returns, stats, counters, f'{agent}, {policy}')
    if returns.problem:
      return {}
    group = GROUPS[policy]
    told = {f'{group}/{name}': value for name, value in stats.items()}
    return returns.metrics(group) | told

  def _tell(
    self,
    returns: Returns,
    stats: Mapping[str, float],
    counters: Mapping[str, int],
    what: str,
  ) -> None:
    print_once = processes.print_once
    print_once(f'Return {what}: {returns}')
    if returns.problem:
      self.incomplete = True
      print_once(f'The evaluation is incomplete: {returns.problem}')
    if processes.first():
      line = {**counters, 'policy': what}
      line |= returns.metrics('eval')
      line |= {f'eval/{name}': value for name, value in stats.items()}
      line |= {'returns': returns.returns}
      line |= {'problem': returns.problem} if returns.problem else {}
      # An evaluation of an import may be the first in its workdir.
      self.file.parent.mkdir(parents=True, exist_ok=True)
      with self.file.open('a') as file:
        file.write(json.dumps(line) + '\n')


def agent_word(
  updates: int, source: Collection[str], workdir: paths.Path
) -> str:
  """Describes an agent in a word: trained, or else its origin.

  Args:
    source: The flags by which its run starts from other arrays; without any,
      what its workdir records is read, and only if the agent is not trained.
  """
  if updates:
    return 'trained'
  source = source or Record.read(workdir / FOLDER).source or {}
  words = {'import_reference': 'imported', 'restore': 'restored'}
  return next((words[x] for x in words if x in source), 'untrained')


def limit_hint(config: ConfigDict) -> str:
  """Says what to do about episodes that do not end."""
  name = branch(config.env.name)
  if 'time_limit' in config.env.get(name, {}):
    return f'config.env.{name}.time_limit ends episodes that do not end'
  return 'config.evaluate.max_steps limits how long an episode is waited for'
