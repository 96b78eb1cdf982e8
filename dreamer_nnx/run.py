"""One run in a workdir: start or resume, train, evaluate, save."""

import contextlib
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import paths, streams, workflow
from dreamer_nnx.interop.pickles import load_reference
from dreamer_nnx.interop.reference import convert
from dreamer_nnx.replay.generators import reseeded
from dreamer_nnx.replay.index import IndexFormError
from dreamer_nnx.training import checkpoint, processes
from dreamer_nnx.training.divergence import Diverged, remedy
from dreamer_nnx.training.evaluate import Returns
from dreamer_nnx.training.interrupt import Interrupt
from dreamer_nnx.training.loop import Trainer
from dreamer_nnx.training.mirror import Mirror
from dreamer_nnx.training.needs import Needs
from dreamer_nnx.training.profiler import Profiler
from dreamer_nnx.training.progress import Progress
from dreamer_nnx.training.sharding import put_global
from dreamer_nnx.training.start import Source, Start
from dreamer_nnx.training.step import State
from dreamer_nnx.training.video import Videos
from dreamer_nnx.training.workdir import check, owned

MODES = {'greedy': 'mode', 'sampled': 'sample'}


class Run(contextlib.ExitStack):
  """Everything of a run, opened in a workdir; a context manager.

  Where the workdir holds a checkpoint the run goes on from it; otherwise it
  starts from `source`, or from fresh parameters. Every process of a run opens
  the same workdir; the first one prints and logs.

  Args:
    step: The checkpoint to go on from, if not the latest. Training goes back
      to it once: those after it are superseded, and the workdir records it.
    again: Goes back to `step`, or starts from `source`, once more.
    profile: Traces a few updates into the workdir.
    scratch: Local folder for what is on its way to a bucket and for a replay
      on disk; one for temporary files, or in the workdir, if it is empty.
    training: Otherwise nothing is trained or saved, and the workdir may be
      one that another process trains in.

  Raises:
    ValueError, OSError: The config, spaces, workdir or checkpoint do not fit.
  """

  def __init__(
    self,
    config: ConfigDict,
    workdir: paths.Path,
    source: Source | None = None,
    step: int | None = None,
    profile: bool = False,
    training: bool = True,
    again: bool = False,
    scratch: str = '',
  ):
    super().__init__()
    self.config, self.workdir = config, workdir
    self.source = source or Source()
    self.step, self.profile, self.training = step, profile, training
    self.again, self.scratch = again, scratch
    self.owned: Callable[[], None] = lambda: None
    self.stop: Callable[[], bool] = lambda: False
    self.stopped = False
    self.parts = configs.bind_all(config)
    try:
      self._open()
    except BaseException:
      self.close()
      raise

  def _open(self) -> None:
    config, workdir = self.config, self.workdir
    check(workdir)
    start = self._own_workdir() if self.training else None
    appending = self.training and processes.first()
    self.logs = self.enter_context(Mirror(workdir, self.scratch, appending))
    found = start.step if start else self.step
    if found is None and not start:
      found = checkpoint.latest(workdir)
    self.life = self.enter_context(contextlib.ExitStack())
    self.rewinds = self._rewinds_at(found)
    self._make_envs(found)
    self.spaces = self.envs.obs_space, self.envs.action_space
    self.learner = workflow.make_learner(config, *self.spaces)
    say('Computes on', workflow.computes_on(config, self.learner))
    if unsplit := self.learner.unsplit():
      say('Not split over the mesh:', *unsplit, sep='\n')
    self._restore(found)
    if start:
      start.record()
      self._open_checkpoints()

  def _rewinds_at(self, found: int | None) -> int:
    if found is None:
      return 0
    root = self.workdir / checkpoint.FOLDER / str(found)
    return checkpoint.load_meta(root).get('counters', {}).get('rewinds', 0)

  def _make_envs(self, found: int | None) -> None:
    self.env_steps = found or 0
    self.seeded = copy.deepcopy(self.config)
    self.seeded.seed = streams.another(self.config.seed, self.rewinds)
    self.envs = workflow.make_envs(self.seeded, self.env_steps)
    self.life.callback(self.envs.close)

  def _restore(self, found: int | None) -> None:
    self.saved = None
    if found is not None:
      root = self.workdir / checkpoint.FOLDER / str(found)
      self.saved = checkpoint.restore(root, self.learner.abstract)
    self.state = self.saved.state if self.saved else self._fresh(self.source)

  def _own_workdir(self) -> Start:
    if processes.first():
      self.owned = self.enter_context(owned(self.workdir))
    return Start(self.workdir, self.source, self.step, self.again)

  def _open_checkpoints(self) -> None:
    self.checkpoints = workflow.make_checkpoints(self.config, self.workdir)
    self.callback(self.checkpoints.close)

  def train(self, evaluate: bool = True) -> None:
    """Trains to `config.train.steps`, then evaluates.

    SIGINT and SIGTERM in any process end it after the step in hand, with a
    checkpoint; `stopped` is then set in all.

    Raises:
      Diverged: Numbers are no longer finite, and `config.train` has the run
        stop there; nothing was saved since.
    """
    trainer = self._trainer(evaluate)
    with Interrupt() as self.stop:
      if evaluate and not self.saved:
        self.play('untrained, sampled')
      while diverged := self._train(trainer):
        # Two replays at once may not fit in memory, nor write to one folder.
        trainer.replay.wait()
        del trainer
        self._rewind(diverged)
        trainer = self._trainer(evaluate)
        trainer.log({'diverged/rewinds': self.rewinds})
      self.stopped = self._stopped()
      if self.stopped:
        self.checkpoints.wait()
        say(f'Stopped at {self.env_steps} environment steps; saved.')
      elif evaluate:
        self._play_all()
    self.checkpoints.wait()
    self.needs.release()

  def evaluate(self) -> None:
    """Prints the returns of whole episodes, and where to look."""
    with Interrupt() as self.stop:
      self._play_all()

  def play(self, what: str) -> dict[str, float]:
    """Prints the returns of episodes and keeps them in evaluations.jsonl.

    Args:
      what: What is evaluated, ending in the kind of policy: greedy or sampled.

    Returns:
      Metrics; none if it was stopped early.
    """
    mode = MODES[what.rpartition(' ')[2]]
    returns = workflow.evaluate_policy(
      self.config, self.learner, self.state, mode, self.stop
    )
    if self._stopped():
      return {}
    if processes.first():
      self._report(what, returns)
    return returns.metrics('eval')

  def _stopped(self) -> bool:
    return processes.anywhere(self.stop())

  def _play_all(self) -> None:
    sampled = self.parts['evaluate']().sampled
    for name in ('greedy', 'sampled') if sampled else ('greedy',):
      self.play(f'trained, {name}')
    say(f'Metrics, videos and checkpoints: {self.workdir}')

  def _train(self, trainer: Trainer) -> Diverged | None:
    trainer.stop = self.stop
    with contextlib.ExitStack() as stack:
      if processes.first():
        progress = stack.enter_context(Progress(trainer.options.steps))
        trainer.show = progress.update
      try:
        self.state = trainer.run()
      except Diverged as error:
        # Its traceback would keep the trainer.
        return error.with_traceback(None)
      self.env_steps = trainer.env_steps
      self._save(trainer, {})
    return None

  def _rewind(self, diverged: Diverged) -> None:
    """Goes back to the last checkpoint, with another seed; or raises."""
    options = self.parts['train']()
    self.checkpoints.wait()
    good = checkpoint.latest(self.workdir)
    if options.on_divergence == 'stop' or self.rewinds >= options.max_rewinds:
      raise diverged.told(remedy(self.workdir, good, self.rewinds))
    self.rewinds += 1
    where = 'the start' if good is None else f'step {good}'
    count = f'time {self.rewinds} of at most {options.max_rewinds}'
    say(diverged.told(f'Going back to {where} with another seed, {count}.'))
    self.life.close()
    self._make_envs(good)
    self._restore(good)
    self.state = self.learner.reseeded(self.state, self.seeded.seed)

  def _report(self, what: str, returns: Returns) -> None:
    say(f'Return {what}: {returns}')
    line = {'env_steps': self.env_steps, 'policy': what}
    line |= returns.metrics('eval') | {'scores': returns.scores}
    with self.logs.evaluations.open('a') as file:
      file.write(json.dumps(line) + '\n')

  def _trainer(self, evaluate: bool) -> Trainer:
    options = self.parts['train']()
    loggers = workflow.make_loggers(self.config, self.logs.path)
    for logger in loggers:
      self.life.callback(logger.close)
    if processes.first():
      loggers = (*loggers, Videos(self.logs.path / 'videos'))
    replay = workflow.make_replay(
      self.seeded, *self.spaces, self.learner, self.workdir, self.scratch
    )
    trainer = Trainer(
      self.learner,
      self.state,
      self.envs,
      replay,
      loggers,
      options,
      self.seeded.seed,
      evaluate_every=self.parts['evaluate']().every if evaluate else 0,
      stop_at=self.parts['evaluate']().stop_at,
      evaluate=self._evaluate_while_training,
      save=self._save,
      slow=self.checkpoints.slow,
    )
    say(*replay.notes, sep='\n')
    if self.saved:
      self._resume(trainer, self.saved)
    trainer.rewinds = self.rewinds
    self.needs = Needs(self.workdir, self.checkpoints, replay)
    self.needs.release()
    if self.profile:
      trainer.watch = Profiler(self.logs.path / 'profile')
      self.life.callback(trainer.watch.close)
    return trainer

  def _resume(self, trainer: Trainer, saved: checkpoint.Restored) -> None:
    owns = saved.meta['processes']
    indices = [own.get('replay') for own in owns]
    if saved.meta['counters'].get('rewinds', 0) != self.rewinds:
      # Not the draws, nor the games, that have led to divergence.
      seed = workflow.replay_seed(self.seeded)
      indices = [reseeded(x, seed) for x in indices]
      owns = [own | {'envs': None} for own in owns]
    index, count = processes.index(), processes.count()
    try:
      if len(owns) == count:
        trainer.replay.load(indices[index])
      else:
        trainer.replay.adopt(indices, index, count)
    except IndexFormError as error:
      raise self._unfit(saved, str(error)) from error
    try:
      trainer.resume(saved.meta['counters'], owns, saved.loop)
    # What JSON of another form than the saved one leads to.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
      what = f'{type(error).__name__}: {error}'
      raise self._unfit(saved, f'meta cannot be taken up ({what}).') from error

  def _unfit(
    self, saved: checkpoint.Restored, what: str
  ) -> checkpoint.CheckpointError:
    return checkpoint.CheckpointError(
      f'checkpoint step {saved.step} in {self.workdir}: {what}'
    )

  def _evaluate_while_training(
    self, state: State, env_steps: int
  ) -> dict[str, float]:
    self.state, self.env_steps = state, env_steps
    return self.play('trained, greedy')

  def _save(self, trainer: Trainer, metrics: dict[str, float]) -> None:
    self.owned()
    self.logs.flush()
    self.checkpoints.wait()
    self.needs.release()
    own = trainer.own() | {'replay': trainer.replay.save()}
    owns = processes.gather(own)
    self.needs.note(trainer.env_steps, owns)
    meta = {
      'counters': trainer.counters(),
      'processes': owns,
      'config': configs.resolve(self.config).to_dict(),
    }
    self.checkpoints.save(
      trainer.env_steps,
      trainer.state,
      trainer.arrays(),
      meta,
      metrics or None,
      trainer.replay.wait,
    )

  def _converted(self, reference: str) -> dict[str, np.ndarray]:
    try:
      arrays = load_reference(paths.parse(reference, '--import_reference'))
      return convert(arrays, self.learner.abstract)
    except ValueError as error:
      raise configs.ConfigError(f'--import_reference: {error}') from error

  def _fresh(self, source: Source) -> State:
    state = self.learner.init(self.seeded.seed)
    if source.reference:
      given = self._converted(source.reference)
      place = lambda v, like: put_global(v.astype(like.dtype), like.sharding)
      return state | {k: place(v, state[k]) for k, v in given.items()}
    if not source.restore:
      return state
    part = checkpoint.partial(
      source.restore,
      self.learner.abstract,
      source.include,
      source.exclude,
      source.step,
    )
    say(f'Restored {len(part.loaded)} arrays from {source.restore}:')
    say(summary(part.loaded))
    say(f'Not restored, {len(part.not_loaded)} arrays:')
    say(summary(part.not_loaded))
    return state | part.state


def say(*lines: str, sep: str = ' ') -> None:
  """Prints, in the first process."""
  if processes.first():
    print(*lines, sep=sep, flush=True)


def summary(names: list[str]) -> str:
  """Array names, a line each."""
  return '\n'.join(f'  {name}' for name in sorted(names)) or '  none'


def saved_config(
  workdir: paths.Path,
  step: int | None = None,
  *,
  trust_config: bool = False,
  named: Mapping[str, Any] | None = None,
) -> ConfigDict:
  """The config of a run, from its checkpoint alone.

  Args:
    trust_config, named: As `config.from_json` takes them.

  Raises:
    UntrustedError: It names code that is not of this package, and is not
      trusted; nothing of it was imported.
    ConfigError, CheckpointError: There is no such config.
  """
  meta = checkpoint.load_meta(workdir, step)
  for node in meta['config'].get('env', {}).values():
    # The name of this field in version 0.1.
    if isinstance(node, dict) and 'vectorization' in node:
      node['workers'] = node.pop('vectorization')
  # Saves kept what older ones named, by number; now by what is kept of them.
  meta['config'].get('replay', {}).get('chunked', {}).pop('keep_indices', None)
  text = json.dumps(meta['config'])
  return configs.from_json(text, trust_config=trust_config, named=named)
