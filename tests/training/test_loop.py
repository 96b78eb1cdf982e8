"""The training loop over real parts, tiny ones."""

import json
import re

import jax
import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.training.actor import flat, unflat
from dreamer_nnx.training.clocks import Every
from dreamer_nnx.training.loop import Trainer
from dreamer_nnx.training.pure import split_signals
from dreamer_nnx.training.resuming import fits, resume
from tests import compiling
from tests.launcher import TINY

pytestmark = pytest.mark.slow

CHANGES = {
  name.removeprefix('config.'): value
  for name, value in TINY.items()
  if not isinstance(value, str)
}


def make_trainer(envs, learner, **changes):
  config = tiny_config(**changes)
  replay = workflow.make_replay(
    config, envs.obs_space, envs.action_space, learner
  )
  options = configs.bind_all(config)['train']()
  state = learner.init(0)
  return Trainer(learner, state, envs, replay, (), options, config.seed)


def tiny_config(**changes):
  config = configs.base()
  mults = {'encoder.simple.mults': (2,), 'decoder.simple.mults': (2,)}
  more = {k.replace('__', '.'): v for k, v in changes.items()}
  configs.apply(config, CHANGES | mults | {'**.units': 8} | more)
  return config


@pytest.fixture(scope='module')
def learner():
  config = tiny_config()
  envs = workflow.make_envs(config)
  return workflow.make_learner(config, envs.obs_space, envs.action_space)


@pytest.fixture
def envs():
  return workflow.make_envs(tiny_config())


def test_updates_keep_the_train_ratio(envs, learner):
  trainer = make_trainer(envs, learner, train__train_ratio=8.0)
  trainer.run()
  assert trainer.env_steps == 60
  # A batch is 2 x 4 steps, so a ratio of 8 is one update per step, from the
  # step on at which replay holds 8 sequences; the first call gives one.
  begun = 60 - trainer.updates + 1
  assert trainer.updates > 40
  assert 8 <= begun <= 20
  assert int(trainer.state['updates']) == trainer.updates


@pytest.mark.parametrize(
  'changes',
  [
    {'selectors.names': ('priority',)},
    {'selectors.names': ('recency',)},
    {'selectors.names': ('uniform', 'priority', 'recency'), 'online': True},
    {'online': False},
    {'consec': 2},
    {'context': 0},
    {'context': 2, 'consec': 2},
  ],
  ids=str,
)
def test_every_way_of_sampling_trains(changes, envs, learner):
  changes = {f'replay__chunked__{k}': v for k, v in changes.items()}
  trainer = make_trainer(envs, learner, **changes)
  before = np.asarray(trainer.state['reward/head/logits/linear/bias'])
  trainer.run()
  after = np.asarray(trainer.state['reward/head/logits/linear/bias'])
  assert trainer.updates > 5
  assert np.isfinite(after).all()
  assert not np.array_equal(before, after)


def test_priorities_come_from_the_model_loss(envs, learner):
  trainer = make_trainer(envs, learner)
  trainer.run()
  batch, _ = trainer.replay.sample()
  _, _, back, metrics = learner.train_step(trainer.state, trainer.carry, batch)
  names = ('image', 'rew', 'con', 'dyn')
  model = sum(float(metrics[f'loss/{name}']) for name in names)
  model += 0.1 * float(metrics['loss/rep'])
  signals, entries = split_signals(back)
  assert signals['model'].shape == (2, 4)
  np.testing.assert_allclose(signals['model'].mean(), model, rtol=1e-5)
  assert entries.keys() == {'latent/deter', 'latent/stoch'}


def test_latents_are_written_back(envs, learner):
  trainer = make_trainer(envs, learner)
  trainer.run()
  stored = {}
  update = trainer.replay.update
  trainer.replay.update = lambda handle, entries, signals: (
    stored.update(entries=entries, signals=signals),
    update(handle, entries, signals),
  )
  trainer.update()
  assert not stored
  trainer.write_back()
  spaces = workflow.step_spaces(envs.obs_space, envs.action_space, learner)
  entries = {k: x for k, x in spaces.items() if k.startswith('latent/')}
  assert stored['entries'].keys() == entries.keys()
  for key, space in entries.items():
    assert stored['entries'][key].shape == (2, 4, *space.shape)
    assert stored['entries'][key].dtype == space.dtype
  assert 'model' in stored['signals']


def test_updates_in_a_row_write_back_one_later(envs, learner):
  trainer = make_trainer(envs, learner)
  trainer.run()
  events = []
  for name in ('sample', 'update'):
    call = getattr(trainer.replay, name)
    record = lambda *args, name=name, call=call: (
      events.append(name),
      call(*args),
    )[1]
    setattr(trainer.replay, name, record)
  for _ in range(3):
    trainer.update()
  assert events == ['sample', 'sample', 'update', 'sample', 'update']
  trainer.write_back()
  trainer.write_back()
  assert events[5:] == ['update']


def test_latents_are_written_before_a_checkpoint(envs, learner):
  trainer = make_trainer(envs, learner)
  pending = []
  trainer.should_save = Every(10)
  trainer.save = lambda t, metrics: pending.append(t.pending)
  trainer.run()
  assert trainer.updates > 5
  assert pending == [None] * 6


def test_every_update_is_watched(envs, learner):
  trainer = make_trainer(envs, learner)
  seen = []
  trainer.watch = lambda updates, metrics: seen.append((updates, len(metrics)))
  trainer.run()
  assert [updates for updates, _ in seen] == list(range(1, trainer.updates + 1))
  assert all(count > 10 for _, count in seen)


def test_phases_are_told_in_order(envs, learner):
  trainer = make_trainer(envs, learner)
  phases = []
  trainer.phase = lambda name, *part: name in phases[-1:] or phases.append(name)
  trainer.should_save, trainer.should_report = Every(50), Every(40)
  trainer.run()
  assert phases == [
    'compiling the policy',
    'filling the replay',
    'training',
    'compiling the update',
    'training',
    'compiling the report',
    'training',
    'saving',
    'training',
  ]


def test_filling_is_told_with_how_much_there_is(envs, learner):
  trainer = make_trainer(envs, learner)
  told = []
  trainer.phase = lambda *phase: told.append(phase)
  trainer.run()
  least = trainer.replay.footprint.begin
  held = [x[1:] for x in told if x[0] == 'filling the replay' and x[1:]]
  assert held[0] == (envs.num_envs, least)
  assert {wanted for _, wanted in held} == {least}
  assert [done for done, _ in held] == sorted(done for done, _ in held)


def test_summary_is_flat_numbers(envs, learner):
  trainer = make_trainer(envs, learner, train__log_every=0)
  trainer.run()
  summary = trainer.summary()
  json.dumps({name: float(value) for name, value in summary.items()})
  for name in (
    'episode/return',
    'time/elapsed',
    'train/opt/lr',
    'train/opt/loss',
    'replay/steps',
    'rate/updates',
  ):
    assert name in summary


def test_counters_and_arrays_resume_to_the_same_future(learner):
  whole = make_trainer(workflow.make_envs(tiny_config()), learner)
  whole.run()
  first = make_trainer(
    workflow.make_envs(tiny_config()), learner, train__steps=30
  )
  first.run()
  second = make_trainer(workflow.make_envs(tiny_config()), learner)
  counters = json.loads(json.dumps(first.counters()))
  second.state, second.replay = first.state, first.replay
  resume(second, counters, [first.local_state()], first.arrays())
  with compiling.compiled() as lines:
    jax.jit(lambda x: x)(1.0)
    second.run()
  assert any('lambda' in line for line in lines)
  again = [line for line in lines if re.search(r'jit\((act|update)\)', line)]
  assert not again
  for name in whole.state:
    if name != 'key':
      np.testing.assert_array_equal(whole.state[name], second.state[name])


def test_nested_dicts_go_flat_and_back():
  tree = {'a': {'b': np.ones(2), 'c': {'d/e': np.zeros(3)}}, 'f': np.ones(1)}
  names = flat(tree)
  assert names.keys() == {'a|b', 'a|c|d/e', 'f'}
  back = unflat(names)
  assert jax.tree.all(jax.tree.map(np.array_equal, tree, back))
  assert fits(names, flat(back))
  assert not fits(names, {'f': np.ones(2)})


def test_names_with_bars_go_flat_and_back():
  tree = {
    'a|b': {'c': np.ones(1)},
    'a': {'b|c': np.zeros(1), '%7C': np.ones(1)},
  }
  names = flat(tree)
  assert len(names) == 3
  back = unflat(names)
  assert jax.tree.all(jax.tree.map(np.array_equal, tree, back))


def test_a_good_evaluation_ends_training_and_is_saved(envs, learner):
  trainer = make_trainer(envs, learner)
  saves = []
  trainer.stop_at = 2.0
  trainer.should_evaluate = Every(10)
  trainer.evaluate = lambda state, step: {'eval/return': step / 10}
  trainer.save = lambda t, metrics: saves.append((t.env_steps, metrics))
  trainer.run()
  assert trainer.env_steps == 20
  assert saves == [(10, {'eval/return': 1.0}), (20, {'eval/return': 2.0})]
  again = make_trainer(envs, learner)
  local = [trainer.local_state()]
  resume(again, trainer.counters(), local, trainer.arrays())
  again.stop_at = 2.0
  assert again.done
  again.stop_at = 3.0
  assert not again.done
