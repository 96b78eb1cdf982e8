"""The training loop: act, remember, learn; log, report, evaluate, save.

Before the first action there may be updates on what the replay holds: those are
offline. The number of a checkpoint, of a line of the log and of a report is

  number = env_steps + offline_updates

so that it always grows; the clocks tick on it, too.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dreamer_nnx import contracts, streams
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import processes
from dreamer_nnx.training.actor import Actor, named
from dreamer_nnx.training.async_acting import AsyncActing
from dreamer_nnx.training.batch_check import check_batch, step_spaces
from dreamer_nnx.training.callbacks import Callbacks
from dreamer_nnx.training.clocks import Every, Ratio
from dreamer_nnx.training.divergence import Diverged
from dreamer_nnx.training.frames import Frames
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.metrics import Episodes, Metrics, Rates, Stopwatch
from dreamer_nnx.training.options import TrainOptions
from dreamer_nnx.training.pure import split_signals
from dreamer_nnx.training.sharding import local_rows, put_rows
from dreamer_nnx.training.step import Learner
from dreamer_nnx.training.summaries import merged


@dataclasses.dataclass
class Trainer:
  """Everything that training changes, and the loop over it.

  With several processes each has a trainer, and they go through the loop
  together: `env_steps` counts those of all, updates are on batches of all.

  What callbacks may use: `env_steps`, `updates`, `offline_updates` and
  `number`, the counters so far; `state`, the arrays of the learner by name, on
  the device and good until the next update; `log`; and `stop_soon`.

  Args:
    state: State of the learner.
    envs, replay: The environments and the replay of this process.
    evaluate: Called with the state and env_steps; returns metrics.
    stop_at: Training ends once their `eval/return` is this high.
    save: Called with the trainer at a checkpoint.
    slow: Asked when a save is due whether the last one is still being written,
      so that this one is put off.
    stop: Asked after every step whether to end early, in any process.
    show: Called with env_steps, updates and the last episode's return.
    callbacks: Called after each step and each update.
    phase: Called with what begins, if it may take long: name, done, wanted.
    elapsed: Returns the seconds of the run so far.
    watch: Called with updates and the metrics of the last one, not waited for.
  """

  learner: Learner
  state: State
  envs: contracts.VectorEnv
  replay: contracts.Replay
  loggers: tuple[contracts.Logger, ...]
  options: TrainOptions
  seed: int
  evaluate_every: int = 0
  stop_at: float = float('inf')
  evaluate: Callable[[State, int], dict[str, float]] = lambda state, step: {}
  save: Callable[['Trainer', dict[str, float]], None] = lambda trainer, m: None
  slow: Callable[[], bool] = lambda: False
  stop: Callable[[], bool] = lambda: False
  show: Callable[[int, int, float | None], None] = lambda *counters: None
  watch: Callable[[int, dict[str, jax.Array]], None] = lambda *update: None
  callbacks: Callbacks = dataclasses.field(default_factory=Callbacks)
  phase: Callable[..., None] = lambda name, done=0, wanted=0: None
  elapsed: Callable[[], float] = dataclasses.field(default_factory=Stopwatch)

  def __post_init__(self):
    options = self.options
    self.env_steps = self.updates = self.offline_updates = self.rewinds = 0
    self.owed, self.stop_reason, self.evaluated = 0, '', -np.inf
    self.learning = self.env_failed = self.save_due = self.reported = False
    self.acted, self.parameters = None, {}
    self.actor = Actor(self.envs, self.learner, self.seed)
    self.carry = self.learner.initial_rows(options.batch_size)
    self.episodes = Episodes(self.envs.num_envs)
    self.metrics, self.rates = Metrics(), Rates()
    self.frames = Frames.of(self.envs)
    self.batch: dict[str, Any] | None = None
    self.pending: tuple[Any, dict[str, jax.Array]] | None = None
    self.should_train = Ratio(
      options.train_ratio / (options.batch_size * options.batch_length)
    )
    self.should_log = Every(options.log_every)
    self.should_report = Every(options.report_every)
    self.should_evaluate = Every(self.evaluate_every)
    self.should_save = Every(options.save_every)

  def run(self) -> State:
    """Trains until `options.steps`, `stop` or `stop_at`; returns the state.

    Raises:
      Diverged: See `check`.
      UserError: See `train_offline`.
    """
    self.rates(env_steps=self.env_steps, updates=self.updates)
    self.train_offline()
    if not self.ending() and not self.actor.obs:
      self.actor.start()
    if self.options.act_async and not self.ending():
      AsyncActing(self).run()
    while not self.ending():
      if self.acted is None:
        self.phase('compiling the policy')
      step = self.actor.act(self.acting(), self.env_steps)
      self.write_back()
      finished = self.remember(step, getattr(self.envs, 'cut', None))
      if self.ready():
        for _ in range(self.should_train(self.env_steps)):
          self.update()
        self.acting()
      # The device is computing the updates while the environments move.
      self.move()
      result = finished[-1]['return'] if finished else None
      self.show(self.env_steps, self.updates, result)
      self.tick()
    self.write_back()
    self.check()
    reasons = processes.gather(self.stop_reason)
    self.stop_reason = next(filter(None, reasons), '')
    return self.state

  def remember(
    self, step: dict[str, np.ndarray], cut: np.ndarray | None
  ) -> list[dict[str, float]]:
    """Takes in a step of every environment; returns the episodes it ended."""
    self.replay.add({k: v for k, v in step.items() if not k.startswith('log/')})
    finished = self.episodes.add(step, cut)
    self.env_steps += self.envs.num_envs * processes.count()
    self.callbacks.stepped(self, step, finished)
    return finished

  def train_offline(self) -> None:
    """Makes the updates before the first action, or those that are left.

    Raises:
      UserError: The replay of a process has nothing to train on.
    """
    if not self.offline:
      return
    if processes.anywhere(not self.replay.ready):
      raise UserError(
        'are updates before the first action, and the replay has no steps to '
        f'train on ({type(self.replay).__name__} holds {len(self.replay)}). '
        'Choose config.replay.name=dataset or mixture, which load some, or set '
        'it to 0.',
        'config.train.offline',
        self.options.offline,
      )
    while self.offline and not self.ending():
      self.offline_updates += 1
      self.update()
      # A run that stops here draws the same batches when it goes on.
      self.write_back()
      self.show(self.env_steps, self.updates, None)
      self.tick()

  @property
  def offline(self) -> bool:
    """Tells whether updates are left that come before the next action."""
    return self.offline_updates < self.options.offline

  @property
  def number(self) -> int:
    """The number of what is saved and logged now."""
    return self.env_steps + self.offline_updates

  def ending(self) -> bool:
    """Tells, in all processes alike, whether training ends here."""
    asked = self.env_failed or bool(self.stop_reason)
    return self.done or processes.anywhere(self.stop() or asked)

  def stop_soon(self, reason: str) -> None:
    """Ends training in all processes after the step in hand, with a checkpoint.

    For callbacks of one process or all. A run that is started again goes on,
    unless it is asked again.
    """
    self.stop_reason = self.stop_reason or str(reason) or 'no reason was given'

  def acting(self) -> State:
    """Returns what the policy needs of the state, gathered once for each."""
    if self.state is not self.acted:
      self.acted, self.parameters = self.state, self.learner.acting(self.state)
    return self.parameters

  @property
  def done(self) -> bool:
    """Tells whether all steps are trained on, or the task is solved."""
    taken = self.env_steps >= self.options.steps
    return self.solved or (taken and not self.owed)

  @property
  def solved(self) -> bool:
    """Tells whether an evaluation was good enough."""
    return self.evaluated >= self.stop_at

  def ready(self) -> bool:
    """Tells whether the replay of every process is ready; it stays so."""
    if not self.learning:
      self.learning = not processes.anywhere(not self.replay.ready)
      least = getattr(self.replay, 'footprint', contracts.Footprint(0)).begin
      self.phase(self.stage, len(self.replay), 0 if self.learning else least)
    return self.learning

  @property
  def stage(self) -> str:
    """The phase between reports, evaluations and saves."""
    if self.offline:
      return 'training offline'
    ready = self.learning or self.replay.ready
    return 'training' if ready else 'filling the replay'

  def move(self) -> None:
    """Moves the environments, which refuse actions that are not finite."""
    try:
      self.actor.move()
    except EnvError:
      if not self.learner.diverged(self.state):
        raise
      # All processes have to come to the end of the loop, to stop together.
      self.env_failed = True

  def check(self) -> None:
    """Logs and raises Diverged if any update so far had numbers not finite.

    It waits for the last update, so it is for when the state is needed anyhow.
    """
    if found := self.learner.diverged(self.state):
      self.log(self.summary() | {'diverged/update': found[0]})
      raise Diverged(*found, self.env_steps)

  def update(self) -> None:
    """Trains on one batch: sample, learn, write the last latents back.

    Nothing here waits for this update: of several in a row, a batch is sampled
    and put on the device while the update before it is computed, and so does
    not see the latents of that one update yet.
    """
    sampled = self.replay.sample()
    if self.batch is None:
      self._check_first(sampled)
    batch, handle = sampled
    self.batch = put_rows(self.learner.sharding, batch)
    self.state, self.carry, back, metrics = self.learner.train_step(
      self.state, self.carry, self.batch
    )
    self.write_back()
    self.pending = handle, back
    self.metrics.add(metrics)
    self.updates += 1
    self.watch(self.updates, metrics)
    self.callbacks.updated(self, metrics)
    self.phase(self.stage)

  def _check_first(self, sampled: Any) -> None:
    """Checks what the replay gives; what is compiled then takes a while."""
    kept = step_spaces(
      self.envs.obs_space, self.envs.action_space, self.learner
    )
    check_batch(sampled, self.replay, kept, self.options)
    self.begin('compiling the update')

  def write_back(self) -> None:
    """Waits for the last update and tells replay what it found out."""
    if self.pending:
      handle, back = self.pending
      signals, entries = split_signals(local_rows(back))
      # After an overflow the replay keeps what it had.
      if all(np.isfinite(x).all() for x in signals.values()):
        self.replay.update(handle, entries, signals)
      self.pending = None

  def tick(self) -> None:
    """Does what the clocks say is due."""
    if self.should_report(self.number) and self.batch:
      self.begin('reporting' if self.reported else 'compiling the report')
      self.log(self.report())
      self.reported = True
    if self.should_log(self.number):
      self.check()
      self.log(self.summary())
    results = {}
    if self.should_evaluate(self.number):
      self.check()
      self.actor.paused()
      results = self.evaluate(self.state, self.env_steps)
      self.log(results)
      self.evaluated = results.get('eval/return', -np.inf)
    self.save_due |= self.should_save(self.number)
    # An evaluated state is always saved, or the best could not be kept.
    if results or (self.save_due and not processes.anywhere(self.slow())):
      self.save_due = False
      self.begin('saving')
      self.write_back()
      self.check()
      self.save(self, results)
    self.phase(self.stage)

  def begin(self, name: str) -> None:
    """Tells of what may take long, for which no environment is late."""
    self.actor.paused()
    self.phase(name)

  def report(self) -> dict[str, Any]:
    """Metrics and open-loop videos of the last batch."""
    key = streams.key(self.seed, Stream.REPORT, self.number)
    scalars, videos = jax.device_get(
      self.learner.report(self.state, self.carry, self.batch, key)
    )
    return {f'report/{k}': v for k, v in scalars.items()} | {
      f'report/openloop/{k}': v for k, v in videos.items()
    }

  def summary(self) -> dict[str, Any]:
    """Means since the last one, over all processes."""
    return merged(processes.gather(self.local_summary()), self.envs)

  def local_summary(self) -> dict[str, float]:
    """Returns what this process has: losses, episodes, replay, speed."""
    groups = {
      'train': self.metrics.result(),
      'replay': self.replay.stats(),
    }
    rates = self.rates(env_steps=self.env_steps, updates=self.updates)
    return (
      self.episodes.result()
      | rates
      | self.actor.stats()
      | {'time/elapsed': self.elapsed()}
      | self.offline_counts()
      | {
        f'{group}/{k}': v
        for group, values in groups.items()
        for k, v in values.items()
      }
    )

  def offline_counts(self) -> dict[str, int]:
    """The parts of `number`, where it is not the environment steps alone."""
    if not self.offline_updates:
      return {}
    return {
      'offline/updates': self.offline_updates,
      'offline/env_steps': self.env_steps,
    }

  def log(self, metrics: Mapping[str, Any]) -> None:
    """Hands metrics, and `frames`, to the loggers of the first process."""
    frames = self.frames.metrics(self.env_steps) if metrics else {}
    for logger in self.loggers:
      logger.write(self.number, {**frames, **metrics})

  def counters(self) -> dict[str, Any]:
    """JSON-able counters and clocks, the same in all processes."""
    return {
      'env_steps': self.env_steps,
      **self.frames.metrics(self.env_steps),
      'updates': self.updates,
      'offline_updates': self.offline_updates,
      'evaluated': self.evaluated,
      'rewinds': self.rewinds,
      'clocks': {name: getattr(self, name).state() for name in CLOCKS},
    } | ({'owed': self.owed} if self.owed else {})

  def local_state(self) -> dict[str, Any]:
    """Returns environments and episode sums of this process, JSON-able."""
    return {'episodes': self.episodes.state(), 'envs': self.actor.state()}

  def arrays(self) -> dict[str, np.ndarray]:
    """Host arrays of all processes, alike in each.

    Of the training carry, and, with an axis of processes in front, of the
    running episodes.
    """
    carry = named({'train': processes.to_host(self.carry)})
    return processes.stack(self.actor.arrays()) | carry


# Attributes of a trainer: its clocks.
EVENTS = 'train', 'log', 'report', 'evaluate', 'save'
CLOCKS = tuple(f'should_{event}' for event in EVENTS)
