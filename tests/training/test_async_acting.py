"""Acting beside updates, in real time."""

import dataclasses
import functools
import threading
import time
from unittest import mock

import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import notices, workflow
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.pacing import Pacer
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import async_acting, exchange
from dreamer_nnx.training.clocks import Every
from dreamer_nnx.training.divergence import Diverged
from dreamer_nnx.training.exchange import Exchange
from dreamer_nnx.training.loop import Trainer
from dreamer_nnx.training.resuming import resume
from tests import compiling
from tests.launcher import TINY
from tests.training.waiting import wait_for

pytestmark = pytest.mark.slow

RATE = 20.0
KEPT = {
  name.removeprefix('config.'): value
  for name, value in TINY.items()
  if not isinstance(value, str) and '.env.' not in name
}
CHANGES = KEPT | {
  '**.units': 8,
  'env.name': 'custom',
  'env.custom.make': 'tests.envs.games:Counter',
  'env.custom.arguments': ('length=7',),
  'env.custom.control_rate': 200.0,
  'train.envs': 1,
  'train.steps': 100,
  'train.train_ratio': 8.0,
  'train.act_async': True,
  'train.log_every': 0,
}
# Seconds that an update takes longer than it would.
SLOW = 0.08


class Logger:
  """Keeps what is logged."""

  def __init__(self):
    self.lines = []

  def write(self, number, metrics):
    self.lines.append((number, dict(metrics)))

  def close(self):
    pass


def tiny_config(**changes):
  config = configs.base()
  more = {k.replace('__', '.'): v for k, v in changes.items()}
  configs.apply(config, CHANGES | more)
  return config


@pytest.fixture(scope='module')
def learner():
  config = tiny_config()
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  envs.close()
  # Compiled before anything is timed.
  trainer = make_trainer(learner, train__steps=40, train__act_async=False)
  trainer.run()
  return learner


def make_trainer(learner, envs=None, **changes):
  config = tiny_config(**changes)
  envs = envs or workflow.make_envs(config)
  replay = workflow.make_replay(
    config, envs.obs_space, envs.action_space, learner
  )
  options = configs.bind_all(config)['train']()
  return Trainer(
    learner, learner.init(0), envs, replay, (Logger(),), options, config.seed
  )


def slow_updates(trainer, seconds=SLOW):
  """Makes updates take longer, and counts those that are being made."""
  update = trainer.update

  def slow():
    update()
    time.sleep(seconds)

  trainer.update = slow


def updates_last(trainer, steps):
  """Makes updates last until acting is so many steps ahead, or done."""
  made, move, update = [], trainer.actor.move, trainer.update

  def slow():
    end = min(trainer.env_steps + steps, trainer.options.steps)
    update()
    wait_for(lambda: len(made) >= end)

  trainer.actor.move = lambda: (move(), made.append(None))
  trainer.update = slow


def test_all_steps_are_trained_on_at_the_ratio(learner):
  trainer = make_trainer(learner)
  trainer.run()
  assert trainer.env_steps == 100
  assert trainer.replay.stats()['inserts'] == 100
  # A ratio of 8 of batches of 8 steps: one update a step, from the step on at
  # which the replay was ready.
  assert 75 <= trainer.updates <= 92
  assert int(trainer.state['updates']) == trainer.updates
  assert trainer.owed == 0
  assert trainer.pending is None


def test_steps_are_those_that_the_environments_made(learner):
  trainer = make_trainer(learner)
  steps = []
  add = trainer.replay.add
  trainer.replay.add = lambda step: (steps.append(step), add(step))
  trainer.run()
  # The observation is (episode, step) of a game of seven steps.
  found = np.concatenate([step['vector'] for step in steps])
  assert found[:, 1].tolist() == [i % 8 for i in range(100)]
  assert sum(step['is_first'][0] for step in steps) == 13


def test_environments_may_use_their_memory_again(learner):
  trainer = make_trainer(learner, train__train_ratio=0.0)
  envs, added, memory = trainer.envs, [], {}
  step, add, take = envs.step, trainer.replay.add, Exchange.take

  def reusing(action):
    for key, value in step(action).items():
      memory.setdefault(key, value.copy())[:] = value
    return dict(memory)

  envs.step = reusing
  trainer.replay.add = lambda step: (added.append(step), add(step))
  # Several steps at once, when the later ones are in the same memory.
  late = lambda self, patience: (time.sleep(0.05), take(self, 0))[1]
  with mock.patch.object(Exchange, 'take', late):
    trainer.run()
  found = [step['vector'][0, 1] for step in added]
  assert found == [i % 8 for i in range(100)]


def take_in_at_once(monkeypatch, steps=0):
  """Has acting wait for the other thread when it is so many steps ahead."""
  monkeypatch.setattr(exchange, 'size', lambda step: 1)
  near = functools.partial(Exchange, limit=steps)
  monkeypatch.setattr(async_acting, 'Exchange', near)


class Idle(threading.Thread):
  """Waits for deadlines at the same rate, which the system alone can miss."""

  def __init__(self):
    super().__init__()
    self.pacer, self.over = Pacer(RATE), False
    self.start()

  def run(self):
    while not self.over:
      self.pacer.wait()

  def end(self):
    """Ends it; returns the number of deadlines that it missed."""
    self.over = True
    self.join()
    return self.pacer.missed


def test_acting_keeps_its_rate_while_updates_run(learner):
  trainer = make_trainer(
    learner, env__custom__control_rate=RATE, train__train_ratio=64.0
  )
  # If acting waited for an update, neither would ever go on.
  updates_last(trainer, 4)
  times, updates = [], []
  step = trainer.envs._env.step

  def timed(action):
    times.append(time.monotonic())
    updates.append(trainer.updates)
    return step(action)

  trainer.envs._env.step = timed
  trainer.options = dataclasses.replace(trainer.options, max_owed=3)
  idle = Idle()
  trainer.run()
  missed_by_system = idle.end()
  assert updates[-1] - updates[30] >= 8
  periods = np.diff(times)[30:]
  # Where a machine is busy with other work, or stands still, much is late.
  assert np.quantile(periods, 0.25) < 0.15
  if not missed_by_system:
    assert periods.mean() == pytest.approx(1 / RATE, rel=0.05)


def test_without_it_the_same_updates_break_the_rate(learner):
  trainer = make_trainer(
    learner,
    env__custom__control_rate=RATE,
    train__act_async=False,
    train__steps=40,
  )
  slow_updates(trainer)
  trainer.run()
  assert trainer.updates >= 20
  assert trainer.envs.stats()['env/missed_deadlines'] >= 20


def test_updates_owed_are_bounded_and_the_rest_is_told(
  learner, caplog, monkeypatch
):
  monkeypatch.setattr(notices, 'WARNED', set())
  trainer = make_trainer(learner, train__max_owed=5, train__log_every=20)
  updates_last(trainer, 4)
  owed = []
  update = trainer.update
  trainer.update = lambda: (owed.append(trainer.owed), update())
  trainer.run()
  assert max(owed) == 5
  assert trainer.owed == 0
  lines = [line for _, line in trainer.loggers[0].lines]
  dropped = sum(line['acting/updates_dropped'] for line in lines)
  # What is logged last is before the last step.
  assert trainer.updates + dropped <= 92
  assert dropped > 20
  assert max(line['acting/updates_owed'] for line in lines) <= 5
  assert 'updates cannot keep up with acting' in caplog.text


def test_the_age_of_the_parameters_is_logged(learner):
  trainer = make_trainer(
    learner, train__log_every=50, env__custom__control_rate=50.0
  )
  slow_updates(trainer, 0.03)
  trainer.run()
  _, last = trainer.loggers[0].lines[-1]
  # While an update is made the parameters are one update old.
  assert 0.1 < last['acting/parameter_age_updates'] <= 1
  assert 0.01 < last['acting/parameter_age'] < last['acting/parameter_age_max']
  assert last['env/missed_deadlines'] >= 0


def test_acting_is_on_the_newest_parameters(learner):
  trainer = make_trainer(learner, env__custom__control_rate=50.0)
  seen = []
  act = trainer.actor.act

  def watched(parameters, count):
    seen.append({k: np.asarray(x).sum() for k, x in parameters.items()})
    return act(parameters, count)

  trainer.actor.act = watched
  trainer.run()
  name = next(k for k in seen[0] if k.startswith('behavior/policy'))
  values = [x[name] for x in seen]
  assert len(set(values)) > 5
  latest = np.asarray(learner.acting(trainer.state)[name]).sum()
  assert latest not in values[:-10]


def test_no_program_is_compiled_more_than_without(learner):
  with compiling.compiled() as texts:
    trainer = make_trainer(learner)
    trainer.run()
    # As evaluations act, on arrays that are not copies.
    acting, obs = learner.acting(trainer.state), trainer.actor.obs
    learner.policy(acting, learner.initial(1), obs, trainer.actor.key, 0)
  assert not [text for text in texts if 'act' in text]


def test_environments_stay_in_their_thread_and_all_else_in_another(learner):
  trainer = make_trainer(learner, train__log_every=10)
  here, threads = threading.current_thread(), {}

  def note(owner, name):
    call = getattr(owner, name)

    def noted(*arguments):
      threads.setdefault(name, set()).add(threading.current_thread())
      return call(*arguments)

    setattr(owner, name, noted)

  note(trainer.envs, 'step')
  for name in ('add', 'sample', 'update'):
    note(trainer.replay, name)
  for name in ('stepped', 'updated'):
    note(trainer.callbacks, name)
  trainer.should_save = Every(20)
  trainer.save = lambda trainer, metrics: None
  for name in ('save', 'show'):
    note(trainer, name)
  note(trainer.loggers[0], 'write')
  before = threading.active_count()
  trainer.run()
  assert threads.pop('step') == {here}
  # The last steps are taken in when the other thread has ended.
  other = set.union(*threads.values()) - {here}
  assert len(other) == 1
  names = ('sample', 'update', 'updated', 'write', 'save')
  assert all(threads[name] == other for name in names)
  assert threading.active_count() == before


def test_a_crash_of_acting_ends_the_run(learner):
  trainer = make_trainer(learner)
  slow_updates(trainer, 0.01)
  act, calls = trainer.actor.act, []

  def crash(*arguments):
    calls.append(None)
    if len(calls) == 50:
      raise ZeroDivisionError('of acting')
    return act(*arguments)

  trainer.actor.act = crash
  before = threading.active_count()
  with pytest.raises(ZeroDivisionError, match='of acting'):
    trainer.run()
  assert threading.active_count() == before
  assert trainer.env_steps < 50


@pytest.mark.parametrize('name', ['update', 'write_back', 'show', 'tick'])
def test_a_crash_of_learning_ends_the_run(name, learner):
  trainer = make_trainer(learner, train__steps=100_000)
  before, call = threading.active_count(), getattr(trainer, name)

  def crash(*arguments):
    if trainer.updates >= 5:
      raise ZeroDivisionError(f'of {name}')
    return call(*arguments)

  setattr(trainer, name, crash)
  with pytest.raises(ZeroDivisionError, match=f'of {name}'):
    trainer.run()
  assert threading.active_count() == before


def test_crashes_of_environments_keep_their_words(learner):
  trainer = make_trainer(
    learner,
    env__custom__max_restarts=0,
    env__custom__arguments=('length=7', 'fail_at=5'),
  )
  with pytest.raises(EnvError, match=r'config.env.custom.make .*step raised'):
    trainer.run()


def test_divergence_ends_the_run(learner):
  trainer = make_trainer(learner, train__log_every=10, train__steps=100_000)
  update = trainer.update

  def diverging():
    if trainer.updates == 10:
      name = 'reward/head/logits/linear/bias'
      bad = trainer.state[name] * np.nan
      trainer.state = trainer.state | {name: bad}
    update()

  trainer.update = diverging
  with pytest.raises(Diverged):
    trainer.run()


def test_a_stop_ends_both_threads_with_every_step_taken_in(learner):
  trainer = make_trainer(learner, train__steps=100_000)
  made = []
  move = trainer.actor.move
  trainer.actor.move = lambda: (made.append(None), move())
  trainer.stop = lambda: trainer.updates >= 20
  trainer.run()
  assert 20 <= trainer.updates <= 21
  assert trainer.env_steps == len(made) == trainer.replay.stats()['inserts']


def test_evaluations_hold_the_environments_still(learner, monkeypatch):
  take_in_at_once(monkeypatch)
  trainer = make_trainer(learner, train__steps=60)
  # Of a clock that evaluations alone move on by more than a period.
  now, count, held = [0.0], [0], []
  pass_by = lambda seconds: now.append(now[-1] + max(seconds, 1e-4))
  trainer.envs._pacer = Pacer(200.0, lambda: now[-1], pass_by)
  move = trainer.actor.move

  def counted():
    count[0] += 1
    move()

  def evaluate(state, env_steps):
    before = count[0]
    time.sleep(0.1)
    pass_by(100.0)
    held.append(count[0] - before)
    return {'eval/return': 1.0}

  trainer.actor.move, trainer.evaluate = counted, evaluate
  trainer.should_evaluate = Every(20)
  saved = []
  trainer.save = lambda trainer, metrics: saved.append(metrics)
  trainer.run()
  assert held == [0, 0, 0]
  assert saved == [{'eval/return': 1.0}] * 3
  # What it waited for is no miss of a deadline.
  assert trainer.envs._pacer.missed == 0


def test_a_good_evaluation_ends_it_at_once(learner):
  trainer = make_trainer(learner, train__steps=100_000)
  trainer.stop_at = 1.0
  trainer.evaluate = lambda state, env_steps: {'eval/return': 1.0}
  trainer.should_evaluate = Every(20)
  trainer.run()
  assert 20 <= trainer.env_steps < 1000
  # Resumed, it ends before anything was observed.
  trainer.actor.obs, steps = {}, trainer.env_steps
  trainer.run()
  assert trainer.env_steps == steps


def test_what_is_saved_is_of_one_moment_and_can_be_resumed(
  learner, monkeypatch
):
  take_in_at_once(monkeypatch, steps=10)
  trainer = make_trainer(learner)
  trainer.should_save, saved = Every(30), []

  def save(trainer, metrics):
    time.sleep(0.02)
    arrays = {k: np.array(x) for k, x in trainer.arrays().items()}
    saved.append(
      (trainer.counters(), trainer.local_state(), arrays, len(trainer.replay))
    )

  trainer.save = save
  updates_last(trainer, 4)
  trainer.run()
  assert len(saved) == 3
  counters, local, arrays, steps = saved[-2]
  assert counters['env_steps'] == steps
  # The observation is (episode, step), of the step after those counted.
  assert arrays['obs|vector'][0, 0, 1] == steps % 8
  assert counters['owed'] > 0
  other = make_trainer(learner)
  resume(other, counters, [local], arrays)
  assert (other.env_steps, other.owed) == (steps, counters['owed'])
  assert other.updates == counters['updates']
  other.actor.start()
  other.run()
  assert other.env_steps == 100
  plain = make_trainer(learner, train__act_async=False)
  resume(plain, counters, [local], arrays)
  assert plain.owed == 0


def test_a_stop_behind_the_last_step_loses_no_update(learner):
  trainer = make_trainer(learner, train__steps=60)
  updates_last(trainer, 4)
  trainer.stop = lambda: trainer.env_steps >= 60
  trainer.run()
  owed = trainer.owed
  assert trainer.env_steps == 60 and owed > 3
  other = make_trainer(learner, train__steps=60)
  state = trainer.counters(), [trainer.local_state()], trainer.arrays()
  resume(other, *state)
  other.replay = trainer.replay
  other.run()
  # A checkpoint of its own needs a step of its own, which has an update.
  assert (other.env_steps, other.owed) == (61, 0)
  assert other.updates == trainer.updates + owed + 1


def test_an_evaluated_state_is_saved_under_its_number(learner, monkeypatch):
  take_in_at_once(monkeypatch, steps=30)
  trainer = make_trainer(learner, train__steps=60)
  evaluated, saved = [], []

  def evaluate(state, env_steps):
    evaluated.append(env_steps)
    return {'eval/return': 1.0}

  log = trainer.log
  # Acting goes on meanwhile, for twenty steps.
  trainer.log = lambda metrics: (time.sleep(0.1), log(metrics))
  trainer.evaluate, trainer.should_evaluate = evaluate, Every(20)
  trainer.save = lambda trainer, metrics: saved.append(
    (trainer.number, trainer.arrays()['obs|vector'][0, 0, 1])
  )
  trainer.run()
  assert len(evaluated) > 1 and evaluated[-1] == 60
  # The observation is (episode, step), of the step after those counted.
  assert saved == [(steps, steps % 8) for steps in evaluated]


def test_several_processes_are_refused(monkeypatch):
  message = 'config.train.act_async = True: there are 2 processes'
  with pytest.raises(UserError, match=message):
    async_acting.check_alone(2)
  monkeypatch.setattr(workflow.processes, 'count', lambda: 2)
  with pytest.raises(UserError, match=message):
    workflow.make_envs(tiny_config())


@pytest.mark.parametrize('every', [20, 100])
def test_the_last_step_is_saved_once_with_every_update(every, learner):
  trainer = make_trainer(learner, env__custom__control_rate=0.0)
  trainer.should_save, saved = Every(every), []
  trainer.save = lambda trainer, metrics: saved.append(trainer.counters())
  slow_updates(trainer, 0.05)
  trainer.run()
  last = [x for x in saved if x['env_steps'] == 100]
  assert [x['updates'] for x in last] == [trainer.updates]
