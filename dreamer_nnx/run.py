"""One run in a workdir: start or resume, train, evaluate, save."""

import contextlib
from collections.abc import Callable

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import (
  contracts,
  interface,
  paths,
  streams,
  versions,
  workflow,
)
from dreamer_nnx.evaluations import Evaluations, agent_word, limit_hint
from dreamer_nnx.initial_state import initial_state
from dreamer_nnx.saved import (
  compared,
  elapsed,
  env_steps,
  resume,
  saved_config,
)
from dreamer_nnx.training import checkpoint, processes, run_info, video
from dreamer_nnx.training.changes import Changes, described
from dreamer_nnx.training.divergence import Diverged, remedy
from dreamer_nnx.training.frames import Frames, counted
from dreamer_nnx.training.interrupt import Interrupt
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.loop import Trainer
from dreamer_nnx.training.metrics import Stopwatch
from dreamer_nnx.training.mirror import Mirror
from dreamer_nnx.training.needs import Needs
from dreamer_nnx.training.processes import print_once
from dreamer_nnx.training.profiler import Profiler
from dreamer_nnx.training.progress import Progress
from dreamer_nnx.training.start import Source, Start
from dreamer_nnx.training.workdir import Owner, check, lock_workdir

__all__ = ['Run', 'saved_config']


class Run(contextlib.ExitStack):
  """Everything of a run, opened in a workdir; a context manager.

  Where the workdir holds a checkpoint the run goes on from it; otherwise it
  starts from `source`, or from fresh parameters. Every process of a run opens
  the same workdir; the first one prints and logs.

  Args:
    config: As `load_config` returns it.
    workdir: Folder of checkpoints, replay, metrics and videos; may be in a
      bucket.
    source: What a new run starts from; by default fresh parameters.
    step: The checkpoint to go on from, if not the latest. Training goes back
      to it once: those after it are superseded, and the workdir records it.
    again: Goes back to `step`, or starts from `source`, once more.
    profile: Traces a few updates into the workdir.
    scratch: Local folder for what is on its way to a bucket and for a replay
      on disk; one for temporary files, or in the workdir, if it is empty.
    training: Otherwise nothing is trained or saved, and the workdir may be
      one that another process trains in.
    record: Evaluations write a video of their first episode.

  Raises:
    ValueError, OSError: The config, spaces, workdir or checkpoint do not fit.
  """

  def __init__(
    self,
    config: ConfigDict,
    workdir: str | paths.Path,
    source: Source | None = None,
    step: int | None = None,
    profile: bool = False,
    training: bool = True,
    again: bool = False,
    scratch: str = '',
    record: bool = False,
  ):
    super().__init__()
    self.parts = configs.bind_all(config)
    self.workdir = paths.parse(workdir, 'workdir')
    self.config = configs.resolve(self.parts)
    self.source = source or Source()
    self.step, self.profile, self.training = step, profile, training
    self.again, self.scratch, self.record = again, scratch, record
    self.owner: Owner | None = None
    self.stop: Callable[[], bool] = lambda: False
    self.stopped = self.incomplete = False
    self.frames, self.stopwatch = Frames(), Stopwatch()
    try:
      with self._showing() as self.progress:
        self._open()
    except BaseException:
      self.close()
      raise

  def _open(self) -> None:
    workdir = self.workdir
    check(workdir)
    start = self._lock_workdir() if self.training else None
    appending = self.training and processes.first()
    self.logs = self.enter_context(Mirror(workdir, self.scratch, appending))
    found = start.step if start else self.step
    if found is None and not start:
      found = checkpoint.latest(workdir)
    self.life = self.enter_context(contextlib.ExitStack())
    self.changes = self._compare(found)
    if self.training:
      self.changes.check()
    self._make_envs(found)
    self.spaces = self.envs.obs_space, self.envs.action_space
    self.changes.check_spaces(*self.spaces)
    self.learner = workflow.make_learner(self.parts, *self.spaces)
    self.evaluations = Evaluations(
      self.parts,
      self.learner,
      self.logs.evaluations,
      lambda: self.stop(),
      self.logs.path / video.FOLDER if self.record else None,
    )
    print_once('Computes on', workflow.computes_on(self.parts, self.learner))
    if unsplit := self.learner.unsplit():
      print_once('Not split over the mesh:', *unsplit, sep='\n')
    self._restore(found)
    if self.saved:
      self.stopwatch.resume(elapsed(self.saved.meta))
    if start:
      start.record()
      self._open_checkpoints()
      if self.saved:
        print_once(self.changes)

  def _compare(self, found: int | None) -> Changes:
    """Reads how often the run went back, and what its config was."""
    self.rewinds = 0
    if found is None:
      return Changes()
    meta = checkpoint.load_meta(self._root(found))
    self.rewinds = meta.get('counters', {}).get('rewinds', 0)
    return compared(meta, found, self.config)

  def _root(self, step: int) -> paths.Path:
    return self.workdir / checkpoint.FOLDER / str(step)

  def _make_envs(self, found: int | None) -> None:
    self.env_steps, counters = 0, {}
    if found is not None:
      meta = checkpoint.load_meta(self._root(found))
      self.env_steps = env_steps(meta, found)
      counters = meta.get('counters', {})
    self.seed = streams.seed_of_start(self.parts['seed'], self.rewinds)
    self.progress.phase('starting environments')
    self.seeded = configs.Bound(self.parts | {'seed': self.seed})
    self.envs = workflow.make_envs(self.seeded, self.env_steps)
    self.life.callback(self.envs.close)
    self.frames = Frames.of(self.envs, self.env_steps, counters)

  def _restore(self, found: int | None) -> None:
    self.saved = None
    what = 'initialising' if found is None else 'restoring'
    self.progress.phase(f'{what} the agent')
    if found is not None:
      with self.changes.named():
        self.saved = checkpoint.restore(
          self._root(found), self.learner.abstract
        )
    counters = self.saved.meta.get('counters', {}) if self.saved else {}
    self.updates = counters.get('updates', 0)
    if self.saved:
      self.state = self.saved.state
    else:
      self.state = initial_state(self.learner, self.seed, self.source)

  def _lock_workdir(self) -> Start:
    if processes.first():
      self.owner = self.enter_context(lock_workdir(self.workdir))
    return Start(self.workdir, self.source, self.step, self.again)

  def _open_checkpoints(self) -> None:
    self.checkpoints = workflow.make_checkpoints(self.parts, self.workdir)
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
    self._write_info(trainer)
    with Interrupt() as self.stop:
      if evaluate and not self.saved:
        trainer.log(self.play('sampled'))
      while diverged := self._train(trainer):
        # Two replays at once may not fit in memory, nor write to one folder.
        trainer.replay.wait()
        del trainer
        self._rewind(diverged)
        trainer = self._trainer(evaluate)
        trainer.log({'diverged/rewinds': self.rewinds})
      self.stopped = processes.anywhere(self.stop())
      where = counted(trainer.env_steps, trainer.offline_updates)
      if self.stopped:
        self.checkpoints.wait()
        print_once(f'Stopped at {where}; saved.')
      elif trainer.stop_reason:
        reason = trainer.stop_reason
        print_once(f'Ended at {where}: {reason}')
      if evaluate and not self.stopped:
        trainer.log(self.play())
        self._print_folder()
    self.checkpoints.wait()
    self.needs.release()

  def evaluate(self) -> dict[str, float]:
    """Prints the returns of whole episodes, and where to look.

    Returns:
      Metrics, `eval/*` and, by drawn actions, `eval_sampled/*`.
    """
    with Interrupt() as self.stop:
      metrics = self.play()
      self._print_folder()
    return metrics

  def play(self, *policies: str) -> dict[str, float]:
    """Evaluates by policies: greedy, sampled; those of the config if none.

    Returns:
      Metrics, `eval/*` and `eval_sampled/*`.
    """
    sampled = self.parts['evaluate']().sampled
    policies = policies or (('greedy', 'sampled') if sampled else ('greedy',))
    self.incomplete = False
    with self._showing() as progress:
      metrics = [self._play(policy, progress) for policy in policies]
    return {name: x for part in metrics for name, x in part.items()}

  def _play(self, policy: str, progress: Progress) -> dict[str, float]:
    agent = agent_word(self.updates, self.source.flags(), self.workdir)
    metrics = self.evaluations.play(
      self.state,
      self.env_steps,
      agent,
      policy,
      progress,
      self.frames.metrics(self.env_steps),
      self.env_steps + min(self.updates, self.config.train.offline),
    )
    self.incomplete |= self.evaluations.incomplete
    return metrics

  def _showing(self) -> Progress:
    return Progress(
      self.config.train.steps,
      enabled=processes.first(),
      hint=limit_hint(self.config),
      frames=self.frames,
      offline=self.config.train.offline,
    )

  def _print_folder(self) -> None:
    print_once(f'Metrics, videos and checkpoints: {self.workdir}')

  def _write_info(self, trainer: Trainer) -> None:
    config = configs.to_json(self.config)
    devices = workflow.computes_on(self.parts, self.learner)
    run_info.write(self.workdir, config, self.env_steps, devices, trainer.log)

  def _train(self, trainer: Trainer) -> Diverged | None:
    trainer.stop = self.stop
    with self._showing() as self.progress:
      trainer.phase = self.progress.phase
      try:
        self.state = trainer.run()
      except Diverged as error:
        # Its traceback would keep the trainer.
        return error.with_traceback(None)
      self.env_steps = trainer.env_steps
      self.progress.phase('saving the last checkpoint')
      self._save(trainer, {})
    return None

  def _show(self, env_steps: int, updates: int, result: float | None) -> None:
    if self.owner:
      self.owner.keep()
    self.updates = updates
    self.progress.update(env_steps, updates, result)

  def _rewind(self, diverged: Diverged) -> None:
    """Goes back to the last checkpoint, with another seed; or raises."""
    options = self.parts['train']()
    self.checkpoints.wait()
    good = checkpoint.latest(self.workdir)
    if options.on_divergence == 'stop' or self.rewinds >= options.max_rewinds:
      raise diverged.with_advice(remedy(self.workdir, good, self.rewinds))
    self.rewinds += 1
    where = 'the start' if good is None else f'step {good}'
    count = f'time {self.rewinds} of at most {options.max_rewinds}'
    print_once(
      diverged.with_advice(f'Going back to {where} with another seed, {count}.')
    )
    self.life.close()
    self._make_envs(good)
    self._restore(good)
    self.state = self.learner.reseeded(self.state, self.seed)

  def _trainer(self, evaluate: bool) -> Trainer:
    replay = workflow.make_replay(
      self.seeded, *self.spaces, self.learner, self.workdir, self.scratch
    )
    trainer = Trainer(
      self.learner,
      self.state,
      self.envs,
      replay,
      self._make_loggers(),
      self.parts['train'](),
      self.seed,
      evaluate_every=self.parts['evaluate']().every if evaluate else 0,
      stop_at=self.parts['evaluate']().stop_at,
      evaluate=self._evaluate_while_training,
      save=self._save,
      slow=self.checkpoints.slow,
      show=self._show,
      callbacks=workflow.make_callbacks(self.parts),
      elapsed=self.stopwatch,
    )
    print_once(*replay.notes, sep='\n')
    if self.saved:
      place = self.workdir, self.rewinds, self.seeded
      with self._showing() as progress:
        progress.phase('restoring the replay')
        resume(trainer, self.saved, *place, self.changes)
    # What cannot be saved is better known now.
    trainer.callbacks.state()
    trainer.rewinds = self.rewinds
    self.needs = Needs(self.workdir, self.checkpoints, replay)
    self.needs.release()
    if self.profile:
      trainer.watch = Profiler(self.logs.path / 'profile')
      self.life.callback(trainer.watch.close)
    return trainer

  def _make_loggers(self) -> tuple[contracts.Logger, ...]:
    loggers = workflow.make_loggers(self.parts, self.logs.path)
    for logger in loggers:
      self.life.callback(logger.close)
    if processes.first():
      loggers = (*loggers, video.Videos(self.logs.path / video.FOLDER))
    return loggers

  def _evaluate_while_training(
    self, state: State, env_steps: int
  ) -> dict[str, float]:
    self.state, self.env_steps = state, env_steps
    return self._play('greedy', self.progress)

  def _save(self, trainer: Trainer, metrics: dict[str, float]) -> None:
    if self.owner:
      self.owner.check()
      self.owner.keep()
    self.logs.flush()
    self.checkpoints.wait()
    if trainer.number in self.checkpoints.steps():
      return  # What it needs of the replay stays.
    self.needs.release()
    local = trainer.local_state() | {'replay': trainer.replay.save()}
    states = processes.gather(local)
    self.needs.note(trainer.number, states)
    meta = {
      'format': versions.CHECKPOINT,
      'written_by': versions.PACKAGE,
      'counters': trainer.counters(),
      'callbacks': trainer.callbacks.state(),
      'processes': states,
      'elapsed': self.stopwatch(),
      'config': self.config.to_dict(),
      'spaces': described(*self.spaces),
      'interface': interface.of(self.envs).to_json(),
    }
    self.checkpoints.save(
      trainer.number,
      trainer.state,
      trainer.arrays(),
      meta,
      metrics or None,
      trainer.replay.wait,
    )
