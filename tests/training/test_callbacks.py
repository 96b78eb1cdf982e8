"""Callbacks: told of steps and updates, saved, and named when they fail."""

import json
import traceback

import numpy as np
import pytest

from dreamer_nnx.errors import UserError
from dreamer_nnx.training import callbacks
from dreamer_nnx.training.callbacks import Callbacks
from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import arguments, launch


class Keeping:
  """Keeps whatever it is given as its state."""

  def __init__(self, value=None):
    self.value = value

  def updated(self, trainer, metrics):
    pass

  def state(self):
    return self.value

  def restore(self, state):
    self.value = state


class Telling:
  def __init__(self, log):
    self.log = log

  def stepped(self, trainer, step, finished):
    self.log.append(('stepped', trainer, step, finished))


def test_each_is_told_of_the_moments_that_it_has():
  log, updates = [], []
  other = Keeping()
  other.updated = lambda *told: updates.append(told)
  both = Callbacks({'one': Telling(log), 'other': other})
  both.stepped('trainer', {'reward': 1}, [])
  both.updated('trainer', {'loss': 2})
  assert log == [('stepped', 'trainer', {'reward': 1}, [])]
  assert updates == [('trainer', {'loss': 2})]


@pytest.mark.parametrize(
  'value', [None, {'a': [1, 2.5, 'x', None, True]}, [], float('inf'), {}]
)
def test_states_come_back_as_they_were(value):
  saved = Callbacks({'keeping': Keeping(value), 'telling': Telling([])}).state()
  assert saved == {'keeping': value}
  fresh = Keeping('fresh')
  Callbacks({'keeping': fresh}).restore(json.loads(json.dumps(saved)))
  assert fresh.value == value


def test_a_callback_that_is_new_begins_anew_and_one_that_is_gone_is_dropped():
  fresh = Keeping('fresh')
  Callbacks({'keeping': fresh}).restore({'gone': 3})
  assert fresh.value == 'fresh'


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    ((1, 2), 'has a tuple, and JSON'),
    ({'a': [np.float64(1)]}, r"has a float64 at \['a'\]\[0\], and JSON"),
    ({'a': {1: 2}}, r"has the key 1 at \['a'\], and JSON has text alone"),
    ({'a': np.zeros(2)}, r"has a ndarray at \['a'\]"),
    ({1, 2}, 'has a set'),
  ],
  ids=str,
)
def test_a_state_that_is_no_json_names_the_callback(value, text):
  with pytest.raises(UserError, match=text) as caught:
    Callbacks({'keeping': Keeping(value)}).state()
  assert caught.value.path == 'config.callbacks.keeping'


def test_a_state_that_differs_between_processes_names_the_callback(monkeypatch):
  other = [{'keeping': {'b': 1, 'a': 3}}, {}]
  gather = lambda value: [json.loads(json.dumps(value)), other]
  monkeypatch.setattr(callbacks.processes, 'gather', gather)
  assert Callbacks({'keeping': Keeping({'a': 3, 'b': 1})}).state()
  with pytest.raises(UserError, match=r'is .* in process 1, .* in'):
    Callbacks({'keeping': Keeping({'a': 2, 'b': 1})}).state()


def test_a_mistake_in_another_process_is_raised_in_all(monkeypatch):
  other = [{'keeping': None}, {'keeping': 'has a tuple.'}]
  gather = lambda value: [json.loads(json.dumps(value)), other]
  monkeypatch.setattr(callbacks.processes, 'gather', gather)
  with pytest.raises(UserError, match='its state has a tuple'):
    Callbacks({'keeping': Keeping(None)}).state()


@pytest.mark.parametrize('name', ['state', 'restore'])
def test_a_state_is_both_saved_and_restored(name):
  half = type('Half', (), {name: None, 'updated': None})
  with pytest.raises(UserError, match='A callback with a state has both'):
    Callbacks({'half': half()})


def test_an_exception_keeps_its_traceback_and_names_the_callback():
  def fail(*told):
    raise KeyError('lost')

  broken = Keeping()
  broken.updated = fail
  with pytest.raises(KeyError) as caught:
    Callbacks({'broken': broken}).updated('trainer', {})
  text = ''.join(traceback.format_exception(caught.value))
  assert 'in fail' in text
  assert 'in updated of config.callbacks.broken' in text


def test_a_user_error_gets_the_path_of_the_callback():
  def refuse(*told):
    raise UserError('must be odd.', 'every', 4)

  broken = Keeping()
  broken.updated = refuse
  with pytest.raises(UserError) as caught:
    Callbacks({'broken': broken}).updated('trainer', {})
  assert str(caught.value) == 'config.callbacks.broken.every = 4: must be odd.'


PLUGIN = {
  'plugins': "('tests.training.counting',)",
  'callbacks__names': "('counting',)",
}


def train(workdir, mode='train', **changes):
  return launch([*arguments(workdir, **PLUGIN, **changes), f'--mode={mode}'])


def logged(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  result = train(workdir)
  assert result.status == 0, result.err
  return workdir


def test_a_callback_of_a_plugin_is_told_of_every_step_and_update(whole):
  meta = load_meta(whole)
  state = meta['callbacks']['counting']
  assert state['steps'] == meta['counters']['env_steps'] == 60
  assert state['updates'] == meta['counters']['updates'] > 40
  losses = [x['counting/loss'] for x in logged(whole) if 'counting/loss' in x]
  assert len(losses) == state['updates'] // 10


def test_a_state_goes_on_exactly_in_a_resumed_run(whole, tmp_path):
  assert train(tmp_path, train__steps=30).status == 0
  assert load_meta(tmp_path)['callbacks']['counting']['steps'] == 30
  assert train(tmp_path).status == 0
  assert load_meta(tmp_path)['callbacks'] == load_meta(whole)['callbacks']
  assert load_meta(tmp_path)['counters'] == load_meta(whole)['counters']


def test_a_callback_ends_a_run_which_is_saved_and_evaluated(tmp_path):
  stop = {'callbacks__counting__stop_at': 24}
  result = train(tmp_path, 'train_and_evaluate', **stop)
  assert result.status == 0, result.err
  assert 'Ended at 24 environment steps: it counted enough' in result.out
  assert load_meta(tmp_path)['counters']['env_steps'] == 24
  assert 'eval/return' in logged(tmp_path)[-1]


def test_a_callback_that_fails_is_named(tmp_path):
  with pytest.raises(KeyError) as caught:
    train(tmp_path, callbacks__counting__fail_at=4)
  notes = ' '.join(caught.value.__notes__)
  assert 'in stepped of config.callbacks.counting' in notes
