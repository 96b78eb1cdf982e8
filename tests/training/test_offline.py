"""Updates before the first action."""

import json

import numpy as np
import pytest

from dreamer_nnx import workflow
from dreamer_nnx.errors import UserError
from dreamer_nnx.training.checkpoint import find, load_meta
from dreamer_nnx.training.clocks import Every
from dreamer_nnx.training.resuming import resume
from tests.launcher import arguments, finish, launch, spawn_all
from tests.plain import PLAIN
from tests.test_resume import assert_same, state_of
from tests.training.test_loop import make_trainer, tiny_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def learner():
  config = tiny_config()
  envs = workflow.make_envs(config)
  return workflow.make_learner(config, envs.obs_space, envs.action_space)


@pytest.fixture(scope='module')
def filled(learner):
  """A replay with the steps of a run, which training does not add to."""
  trainer = make_trainer(workflow.make_envs(tiny_config()), learner)
  trainer.run()
  return trainer.replay


class Still:
  """Environments that must not be touched."""

  def __init__(self, envs):
    self.envs = envs
    self.stats, self.state = envs.stats, envs.state
    self.num_envs, self.repeat = envs.num_envs, envs.repeat
    self.paused = lambda: None
    self.obs_space, self.action_space = envs.obs_space, envs.action_space

  def __getattr__(self, name):
    raise AssertionError(f'{name} of the environments was used')


def offline_trainer(learner, replay, still=True, **changes):
  envs = workflow.make_envs(tiny_config())
  changes = {'train__offline': 12, 'train__log_every': 0} | changes
  trainer = make_trainer(Still(envs) if still else envs, learner, **changes)
  trainer.replay = replay
  return trainer


def test_no_environment_is_touched_and_nothing_is_acted(learner, filled):
  trainer = offline_trainer(learner, filled)
  trainer.stop = lambda: trainer.updates == 12
  before = len(filled)
  trainer.run()
  assert (trainer.updates, trainer.offline_updates) == (12, 12)
  assert (trainer.env_steps, trainer.number) == (0, 12)
  assert len(filled) == before
  assert int(trainer.state['updates']) == 12


def test_clocks_and_logs_go_by_the_number(learner, filled):
  trainer = offline_trainer(learner, filled, still=False, train__steps=10)
  lines, saves, evaluations = [], [], []
  logger = type('L', (), {'write': lambda self, n, m: lines.append((n, m))})()
  trainer.loggers = (logger,)
  trainer.should_log, trainer.should_save = Every(4), Every(8)
  trainer.should_evaluate = Every(6)
  trainer.evaluate = lambda state, steps: evaluations.append(steps) or {}
  trainer.save = lambda t, m: saves.append((t.number, t.env_steps))
  trainer.run()
  assert trainer.number == 22 and trainer.env_steps == 10
  counts = [
    (n, m['offline/updates'], m['offline/env_steps'])
    for n, m in lines
    if 'offline/updates' in m
  ]
  assert counts == [(4, 4, 0), (8, 8, 0), (12, 12, 0), (16, 12, 4), (20, 12, 8)]
  assert [n for n, _ in lines] == sorted(n for n, _ in lines)
  assert saves == [(8, 0), (16, 4)]
  assert evaluations == [0, 0, 6]


def test_a_run_without_offline_updates_logs_its_steps_alone(learner, filled):
  trainer = offline_trainer(learner, filled, train__offline=0, still=False)
  trainer.env_steps = trainer.updates = 3
  assert trainer.number == 3
  assert not any(name.startswith('offline/') for name in trainer.summary())


def test_a_replay_with_nothing_in_it_is_refused(learner):
  trainer = make_trainer(
    workflow.make_envs(tiny_config()), learner, train__offline=5
  )
  with pytest.raises(UserError, match='the replay has no steps') as caught:
    trainer.run()
  assert caught.value.path == 'config.train.offline'
  assert caught.value.got == ' = 5'
  assert 'dataset or mixture' in str(caught.value)


def test_the_phase_is_told(learner, filled):
  trainer = offline_trainer(learner, filled, still=False, train__steps=4)
  phases = []
  trainer.phase = lambda name, *part: name in phases[-1:] or phases.append(name)
  trainer.run()
  assert phases[:2] == ['compiling the update', 'training offline']
  assert 'training' in phases
  assert not [phase for phase in phases if phase.startswith('filling')]


def test_a_good_evaluation_ends_the_phase(learner, filled):
  trainer = offline_trainer(learner, filled)
  trainer.stop_at, trainer.should_evaluate = 2.0, Every(3)
  trainer.evaluate = lambda state, steps: {'eval/return': 2.0}
  trainer.run()
  assert trainer.offline_updates == 3


def test_entries_are_written_back_before_the_next_batch(learner, filled):
  trainer = offline_trainer(learner, filled)
  trainer.stop = lambda: trainer.updates == 3
  events = []

  class Noting:
    ready = True
    stats = filled.stats

    def sample(self):
      events.append('sample')
      return filled.sample()

    def update(self, *told):
      events.append('update')
      filled.update(*told)

  Noting.context = filled.context
  trainer.replay = Noting()
  trainer.run()
  assert events == ['sample', 'update'] * 3


def test_a_raised_number_of_updates_is_made_up_for(learner, filled):
  trainer = offline_trainer(learner, filled)
  trainer.stop = lambda: trainer.updates == 12
  trainer.run()
  more = offline_trainer(learner, filled, train__offline=15)
  more.state = trainer.state
  more.stop = lambda: more.updates == 15
  resume(more, trainer.counters(), [trainer.local_state()], trainer.arrays())
  assert (more.offline_updates, more.updates) == (12, 12)
  more.run()
  assert (more.offline_updates, more.env_steps) == (15, 0)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """The steps of another run."""
  workdir = tmp_path_factory.mktemp('data')
  assert launch([*arguments(workdir), '--mode=train']).status == 0
  return workdir / 'replay'


def changes(data, **more):
  return {
    'replay__name': 'mixture',
    'replay__mixture__share': 0.5,
    'replay__mixture__live__chunked__capacity': 512,
    'replay__mixture__live__chunked__chunk_size': 32,
    'replay__mixture__data__dataset__path': data,
    'train__offline': 20,
    'plugins': "('tests.training.counting',)",
    'callbacks__names': "('counting',)",
  } | more


def train(workdir, data, mode='train', **more):
  flags = arguments(workdir, **changes(data, **more))
  result = launch([*flags, f'--mode={mode}'])
  assert result.status == 0, result.err
  return result


@pytest.fixture(scope='module')
def whole(tmp_path_factory, data):
  workdir = tmp_path_factory.mktemp('whole')
  train(workdir, data)
  return workdir


def test_a_mixture_trains_offline_and_goes_on_by_acting(whole):
  counters = load_meta(whole)['counters']
  assert counters['offline_updates'] == 20
  assert counters['env_steps'] == 60
  assert counters['updates'] > 20 + 40
  assert find(whole).name == '80'
  lines = (whole / 'metrics.jsonl').read_text().splitlines()
  lines = [json.loads(line) for line in lines]
  numbers = [line['env_steps'] for line in lines]
  assert numbers == sorted(numbers) and numbers[-1] == 80
  parts = [
    (line['offline/updates'], line['offline/env_steps'])
    for line in lines
    if 'offline/updates' in line
  ]
  assert parts == [(20, 0), (20, 20), (20, 40), (20, 60)]
  assert lines[-1]['replay/data/steps'] == 60


@pytest.mark.parametrize('at', [7, 20, 40])
def test_a_run_stopped_at_any_time_goes_on_exactly(whole, data, tmp_path, at):
  out = train(tmp_path, data, callbacks__counting__stop_at=at).out
  assert 'Ended at' in out
  meta = load_meta(tmp_path)
  offline = min(at, 20)
  assert meta['counters']['offline_updates'] == offline
  assert meta['counters']['env_steps'] == at - offline
  assert find(tmp_path).name == str(at)
  train(tmp_path, data)
  assert_same(state_of(whole), state_of(tmp_path))
  assert load_meta(tmp_path)['counters'] == load_meta(whole)['counters']
  assert load_meta(tmp_path)['callbacks'] == load_meta(whole)['callbacks']


def test_a_checkpoint_of_the_phase_is_evaluated(data, tmp_path):
  train(tmp_path, data, callbacks__counting__stop_at=7)
  result = launch(
    [f'--workdir={tmp_path}', '--mode=evaluate', '--trust_config']
  )
  assert result.status == 0, result.err
  lines = (tmp_path / 'evaluations.jsonl').read_text().splitlines()
  assert {json.loads(line)['env_steps'] for line in lines} == {0}
  assert np.isfinite(json.loads(lines[-1])['eval/return'])


def test_data_alone_take_no_steps_of_the_environments(data, tmp_path):
  alone = {
    'replay__name': 'dataset',
    'replay__dataset__path': data,
    'train__steps': 10,
  }
  flags = changes(data) | alone
  flags = {k: v for k, v in flags.items() if 'mixture' not in k}
  result = launch([*arguments(tmp_path, **flags), '--mode=train'])
  assert result.status == 0, result.err
  assert 'no steps of the environments are added' in result.out
  assert load_meta(tmp_path)['counters']['env_steps'] == 10
  assert not list((tmp_path / 'replay').glob('*.data'))


def test_two_processes_train_offline_together(data, tmp_path):
  more = {'train__batch_size': 4, 'train__envs': 4, 'train__steps': 20}
  argv = [*arguments(tmp_path, **changes(data, **more)), '--mode=train']
  # Each has 2 rows, 1 of them of the data.
  for result in map(finish, spawn_all(argv, 2, more=PLAIN)):
    assert result.status == 0, result.out
  meta = load_meta(tmp_path)
  assert meta['counters']['offline_updates'] == 20
  assert meta['counters']['env_steps'] == 20
  one, other = (state['replay']['data'] for state in meta['processes'])
  assert one['rng'] != other['rng']


def test_processes_without_data_all_say_so(tmp_path):
  more = {'train__batch_size': 4, 'train__envs': 4, 'train__offline': 5}
  argv = [*arguments(tmp_path, **more), '--mode=train']
  for result in map(finish, spawn_all(argv, 2, more=PLAIN)):
    assert result.status == 2
    assert 'config.train.offline = 5: are updates before' in result.out
