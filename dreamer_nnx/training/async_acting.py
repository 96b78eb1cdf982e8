"""Acting at its own pace, while another thread makes the updates.

The thread that training runs in acts and moves the environments, some of which
work in the thread alone that made them. The other one has all else: it takes in
the steps in order, and so it alone adds to the replay and samples from it,
counts, calls callbacks and loggers, evaluates and saves. It publishes a copy of
what acting reads after each update. What the two share is in `Exchange`.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.errors import UserError
from dreamer_nnx.notices import warn_once
from dreamer_nnx.training import processes
from dreamer_nnx.training.exchange import Exchange
from dreamer_nnx.training.layout import State

if TYPE_CHECKING:
  from dreamer_nnx.training.loop import Trainer

# Seconds after which a thread without work looks whether training ends.
POLL = 0.1


class Published(NamedTuple):
  """Parameters to act with, and when they were made.

  Args:
    updates: Number of updates before.
    time: Monotonic time at which they were ready.
  """

  parameters: State
  updates: int
  time: float


class Ages:
  """Means of the ages that the acting parameters had."""

  def __init__(self):
    self._count = self._updates = 0
    self._seconds = self._oldest = 0.0

  def add(self, published: Published, updates: int) -> None:
    """Notes that an action is chosen, when so many updates were begun."""
    seconds = time.monotonic() - published.time
    self._count += 1
    self._updates += updates - published.updates
    self._seconds += seconds
    self._oldest = max(self._oldest, seconds)

  def result(self) -> dict[str, float]:
    """Returns means and the oldest since the last result."""
    count, updates = self._count, self._updates
    seconds, oldest = self._seconds, self._oldest
    self.__init__()
    if not count:
      return {}
    return {
      'acting/parameter_age_updates': updates / count,
      'acting/parameter_age': seconds / count,
      'acting/parameter_age_max': oldest,
    }


class AsyncActing:
  """The loop of a trainer in two threads.

  While it runs it stands for the trainer's actor, for what is saved and logged.
  Environments hold still, between two steps, while their state or metrics are
  read, and during evaluations.

  Raises:
    UserError: There are several processes.
  """

  def __init__(self, trainer: 'Trainer'):
    check_alone(processes.count())
    self.trainer, self.actor = trainer, trainer.actor
    self.exchange, self.ages = Exchange(), Ages()
    self.dropped = 0
    self.result: float | None = None
    self.failed = False
    self.error: BaseException | None = None
    self.env_error: EnvError | None = None
    self._arrays: dict[str, np.ndarray] = {}
    self._state: dict | None = None
    # Environment steps that are taken, and those at which they were kept.
    self._taken, self._kept = trainer.env_steps, -1

  def run(self) -> None:
    """Acts and trains until the trainer is done, or asked to end.

    Raises:
      BaseException: Whatever either thread raised.
    """
    trainer = self.trainer
    trainer.phase('compiling the policy')
    self._publish()
    learning = threading.Thread(target=self._learn, name='learning')
    whole = trainer.evaluate, trainer.save
    trainer.evaluate, trainer.save = self._evaluating(), self._saving()
    trainer.actor = self
    learning.start()
    try:
      self._act()
    except EnvError as error:
      self.env_error = error
    except BaseException:
      self.failed = True
      raise
    finally:
      self.exchange.finish()
      learning.join()
      trainer.actor, (trainer.evaluate, trainer.save) = self.actor, whole
    if self.error:
      raise self.error
    self._remember(self.exchange.take(0))
    self._settle()

  def arrays(self) -> dict[str, np.ndarray]:
    """Returns the running episodes, as of the last save."""
    return self._arrays

  def state(self) -> dict | None:
    """Returns the state of the environments, as of the last save."""
    return self._state

  def stats(self) -> dict[str, float]:
    """Metrics of the environments, and of the two threads."""
    with self.exchange.held():
      stats = self.actor.stats() | self.ages.result()
    dropped, self.dropped = self.dropped, 0
    return stats | {
      'acting/updates_owed': float(self.trainer.owed),
      'acting/updates_dropped': float(dropped),
    }

  def paused(self) -> None:
    """Does nothing: whatever the trainer begins, acting goes on."""

  def _act(self) -> None:
    """Acts, and moves the environments; in the thread that made them."""
    trainer, actor, envs = self.trainer, self.actor, self.trainer.envs
    # Updates that are owed behind the last step belong to the next one, for
    # that has a checkpoint.
    end = max(trainer.options.steps, self._taken + bool(trainer.owed))
    while self._taken < end and self.exchange.goes_on():
      published = self.published
      self.ages.add(published, trainer.updates)
      step = actor.act(published.parameters, self._taken)
      # The environments may use their memory again.
      kept = {k: np.array(x) for k, x in step.items()}
      self.exchange.put((kept, np.array(getattr(envs, 'cut', False))))
      self._taken += envs.num_envs
      actor.move()

  def _learn(self) -> None:
    """Does all else, in a thread of its own."""
    trainer = self.trainer
    try:
      while not self._over():
        self._remember(self.exchange.take(0 if self._due else POLL))
        if self._due:
          self._update()
        trainer.show(trainer.env_steps, trainer.updates, self.result)
        if not self._ends_later:
          trainer.tick()
    except BaseException as error:
      self.error = error
    finally:
      self.exchange.end()

  def _update(self) -> None:
    trainer = self.trainer
    trainer.update()
    trainer.write_back()
    trainer.owed -= 1
    self._publish()

  def _over(self) -> bool:
    """Tells whether training ends; updates that are owed are made before.

    Those that there is not enough to train on are forgotten.
    """
    trainer = self.trainer
    asked = trainer.stop() or trainer.stop_reason or trainer.solved
    if asked or self.failed or self.env_error:
      return True
    if not self.exchange.finished or self._due:
      return False
    trainer.owed = 0
    return True

  @property
  def _due(self) -> bool:
    """Tells whether there is an update to make, and steps for it."""
    # A run may be resumed with a replay that is still to be filled.
    return bool(self.trainer.owed) and self.trainer.ready()

  @property
  def _ends_later(self) -> bool:
    """Tells whether all steps are taken in, and not all updates made.

    There is one checkpoint for each step: that of the last has them all.
    """
    return self.trainer.env_steps >= self.trainer.options.steps and self._due

  def _remember(self, steps: list) -> None:
    """Takes in steps, and counts the updates that they ask for."""
    trainer = self.trainer
    for step, cut in steps:
      finished = trainer.remember(step, cut if cut.ndim else None)
      self.result = finished[-1]['return'] if finished else self.result
      if trainer.ready():
        trainer.owed += trainer.should_train(trainer.env_steps)
    if (more := trainer.owed - trainer.options.max_owed) > 0:
      trainer.owed -= more
      self.dropped += more
      warn_once(
        'config.train.act_async: updates cannot keep up with acting, and '
        f'config.train.max_owed = {trainer.options.max_owed} are owed; more '
        'are dropped (acting/updates_dropped). A smaller '
        'config.train.train_ratio asks for fewer.',
        'config.train.max_owed',
      )

  def _publish(self) -> None:
    trainer = self.trainer
    parameters = trainer.learner.published(trainer.state)
    self.published = Published(parameters, trainer.updates, time.monotonic())

  def _settle(self) -> None:
    """Decides what an error of the environments means.

    Raises:
      EnvError: It was not for actions that are not finite.
    """
    trainer = self.trainer
    if not self.env_error:
      return
    if not trainer.learner.diverged(trainer.state):
      raise self.env_error
    trainer.env_failed = True

  def _evaluating(self) -> Callable[[State, int], dict[str, float]]:
    trainer, evaluate = self.trainer, self.trainer.evaluate

    def call(state: State, env_steps: int) -> dict[str, float]:
      del state, env_steps
      with self.exchange.held():
        self._keep()
        # That of the last step is saved with all updates.
        while self._ends_later and not trainer.stop():
          self._update()
        self.actor.paused()
        return evaluate(trainer.state, trainer.env_steps)

    return call

  def _saving(self) -> Callable[['Trainer', dict[str, float]], None]:
    save = self.trainer.save

    def call(trainer: 'Trainer', metrics: dict[str, float]) -> None:
      # What was evaluated is saved as it was then.
      if self._kept != trainer.env_steps:
        with self.exchange.held():
          self._keep()
      if self._ends_later:
        trainer.save_due = True
        return
      save(trainer, metrics)

    return call

  def _keep(self) -> None:
    """Takes in all steps, and keeps what is saved of the environments then."""
    self._remember(self.exchange.take(0))
    arrays = self.actor.arrays()
    self._arrays = {k: np.array(x) for k, x in arrays.items()}
    self._state = self.actor.state()
    self._kept = self.trainer.env_steps


def check_alone(count: int) -> None:
  """Refuses several processes, which update in step with each other.

  Raises:
    UserError: There are several.
  """
  if count > 1:
    raise UserError(
      f'there are {count} processes, which act and update in step with each '
      'other. Train in one process, or set it to false.',
      'config.train.act_async',
      True,
    )
