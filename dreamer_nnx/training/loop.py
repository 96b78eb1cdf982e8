"""The training loop: act, remember, learn; log, report, evaluate, save."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dreamer_nnx import contracts, streams
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import processes
from dreamer_nnx.training.actor import Actor, named, unnamed
from dreamer_nnx.training.batch_check import check_batch, step_spaces
from dreamer_nnx.training.clocks import Every, Ratio
from dreamer_nnx.training.divergence import Diverged
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.metrics import Episodes, Metrics, Rates, Stopwatch
from dreamer_nnx.training.options import TrainOptions
from dreamer_nnx.training.pure import SIGNAL
from dreamer_nnx.training.sharding import local_rows, put_global, put_rows
from dreamer_nnx.training.step import Learner
from dreamer_nnx.training.summaries import merged


@dataclasses.dataclass
class Trainer:
  """Everything that training changes, and the loop over it.

  With several processes each has a trainer, and they go through the loop
  together: `env_steps` counts those of all, updates are on batches of all.

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
    phase: Called with the name of what begins, if it may take long.
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
  phase: Callable[[str], None] = lambda name: None
  elapsed: Callable[[], float] = dataclasses.field(default_factory=Stopwatch)

  def __post_init__(self):
    options = self.options
    self.env_steps = self.updates = self.rewinds = 0
    self.evaluated = -np.inf
    self.learning = self.env_failed = self.save_due = False
    self.acted, self.parameters = None, {}
    self.actor = Actor(self.envs, self.learner, self.seed)
    self.carry = self.learner.initial_rows(options.batch_size)
    self.episodes = Episodes(self.envs.num_envs)
    self.metrics, self.rates = Metrics(), Rates()
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
    """
    if not self.actor.obs:
      self.actor.start()
    self.rates(env_steps=self.env_steps, updates=self.updates)
    while not (self.done or processes.anywhere(self.stop() or self.env_failed)):
      if self.acted is None:
        self.phase('compiling the policy')
      step = self.actor.act(self.acting(), self.env_steps)
      self.write_back()
      self.replay.add(
        {k: v for k, v in step.items() if not k.startswith('log/')}
      )
      finished = self.episodes.add(step, getattr(self.envs, 'cut', None))
      self.env_steps += self.envs.num_envs * processes.count()
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
    return self.state

  def acting(self) -> State:
    """Returns what the policy needs of the state, gathered once for each."""
    if self.state is not self.acted:
      self.acted, self.parameters = self.state, self.learner.acting(self.state)
    return self.parameters

  @property
  def done(self) -> bool:
    """Tells whether all steps are trained, or the task is solved."""
    solved = self.evaluated >= self.stop_at
    return solved or self.env_steps >= self.options.steps

  def ready(self) -> bool:
    """Tells whether the replay of every process is ready; it stays so."""
    if not self.learning:
      self.learning = not processes.anywhere(not self.replay.ready)
      self.phase(self.stage)
    return self.learning

  @property
  def stage(self) -> str:
    """The phase between reports, evaluations and saves."""
    return 'training' if self.learning else 'filling the replay'

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
    self.phase('training')

  def _check_first(self, sampled: Any) -> None:
    """Checks what the replay gives; what is compiled then takes a while."""
    kept = step_spaces(
      self.envs.obs_space, self.envs.action_space, self.learner
    )
    check_batch(sampled, self.replay, kept, self.options)
    self.phase('compiling the update')

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
    if self.should_report(self.env_steps) and self.batch:
      self.phase('reporting')
      self.log(self.report())
    if self.should_log(self.env_steps):
      self.check()
      self.log(self.summary())
    results = {}
    if self.should_evaluate(self.env_steps):
      self.check()
      results = self.evaluate(self.state, self.env_steps)
      self.log(results)
      self.evaluated = results.get('eval/return', -np.inf)
    self.save_due |= self.should_save(self.env_steps)
    # An evaluated state is always saved, or the best could not be kept.
    if results or (self.save_due and not processes.anywhere(self.slow())):
      self.save_due = False
      self.phase('saving')
      self.write_back()
      self.check()
      self.save(self, results)
    self.phase(self.stage)

  def report(self) -> dict[str, Any]:
    """Metrics and open-loop videos of the last batch."""
    key = streams.key(self.seed, Stream.REPORT, self.env_steps)
    scalars, videos = jax.device_get(
      self.learner.report(self.state, self.carry, self.batch, key)
    )
    return {f'report/{k}': v for k, v in scalars.items()} | {
      f'report/openloop/{k}': v for k, v in videos.items()
    }

  def summary(self) -> dict[str, Any]:
    """Means since the last one, over all processes."""
    return merged(processes.gather(self.local_summary()))

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
      | self.envs.stats()
      | {'time/elapsed': self.elapsed()}
      | {
        f'{group}/{k}': v
        for group, values in groups.items()
        for k, v in values.items()
      }
    )

  def log(self, metrics: Mapping[str, Any]) -> None:
    """Hands metrics to every logger."""
    for logger in self.loggers:
      logger.write(self.env_steps, metrics)

  def counters(self) -> dict[str, Any]:
    """JSON-able counters and clocks, the same in all processes."""
    return {
      'env_steps': self.env_steps,
      'updates': self.updates,
      'evaluated': self.evaluated,
      'rewinds': self.rewinds,
      'clocks': {name: getattr(self, name).state() for name in CLOCKS},
    }

  def local_state(self) -> dict[str, Any]:
    """Returns environments and episode sums of this process, JSON-able."""
    return {'episodes': self.episodes.state(), 'envs': self.envs.state()}

  def arrays(self) -> dict[str, np.ndarray]:
    """Host arrays of all processes, alike in each.

    Of the training carry, and, with an axis of processes in front, of the
    running episodes.
    """
    carry = named({'train': processes.to_host(self.carry)})
    return processes.stack(self.actor.arrays()) | carry

  def resume(
    self,
    counters: Mapping[str, Any],
    local_states: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
  ) -> None:
    """Goes on from `counters`, every process's `local_state`, and `arrays`.

    Environments that have a state go on where they were. The others, and any
    other number of them or of processes, begin new episodes.
    """
    for name in ('env_steps', 'updates', 'evaluated'):
      setattr(self, name, counters[name])
    clocks = counters['clocks']
    for name in clocks.keys() & set(CLOCKS):
      getattr(self, name).restore(clocks[name])
    carry = {k: x for k, x in arrays.items() if k.startswith('train|')}
    like = {'train': self.carry}
    if fits(carry, named(like)):
      where = self.learner.sharding.batch
      # Another precision computes with another format.
      self.carry = jax.tree.map(
        lambda x, like: put_global(x.astype(like.dtype), where),
        unnamed(carry, like),
        like,
      )['train']
    episodes = {k: x for k, x in arrays.items() if k not in carry}
    if len(local_states) != processes.count() or not episodes:
      return
    local = local_states[processes.index()]
    rows = {k: x[processes.index()] for k, x in episodes.items()}
    if local['envs'] is not None and fits(rows, self._arrays_like()):
      self.envs.restore(local['envs'])
      self.episodes.restore(local['episodes'])
      self.actor.resume(rows)

  def _arrays_like(self) -> dict[str, np.ndarray]:
    """Arrays of the shapes that running episodes have here."""
    first = Actor(self.envs, self.learner, self.seed)
    first.start()
    return first.arrays()


CLOCKS = (
  'should_train',
  'should_log',
  'should_report',
  'should_evaluate',
  'should_save',
)


def split_signals(
  back: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Splits what a train step tells replay into signals and entries."""
  signals = {
    k.removeprefix(SIGNAL): x for k, x in back.items() if k.startswith(SIGNAL)
  }
  entries = {k: x for k, x in back.items() if not k.startswith(SIGNAL)}
  return signals, entries


def fits(arrays: Mapping, like: Mapping) -> bool:
  """Tells whether names and shapes are the same."""
  shapes = lambda tree: {name: np.shape(x) for name, x in tree.items()}
  return shapes(arrays) == shapes(like)
