"""Mistakes are found before anything is compiled, and their remedies work."""

import shutil
import sys

import numpy as np
import pytest

from dreamer_nnx import paths, workflow
from dreamer_nnx.envs import packages
from dreamer_nnx.errors import UserError
from dreamer_nnx.preflight import memory as preflight_memory
from dreamer_nnx.replay import memory
from dreamer_nnx.replay.chunked import ChunkedReplay
from dreamer_nnx.run import Run
from dreamer_nnx.training.start import Source
from dreamer_nnx.training.step import Learner
from dreamer_nnx.training.workdir import lock_workdir
from tests.envs import lying
from tests.launcher import learner
from tests.preflight.asking import check, config_of

MIB = 2**20


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
  def refuse(*given):
    raise AssertionError('It began to compile.')

  monkeypatch.setattr(Learner, 'programs', refuse)
  monkeypatch.setattr(workflow, 'make_learner', learner)


def custom(name):
  return {
    'env__name': 'custom',
    'env__custom__make': f'{lying.__name__}:{name}',
  }


# Mistakes: fields and flags, what is said of them, and what is said to help.
MISTAKES = {
  'image': (
    {'encoder__simple__mults': (1, 1, 1, 1)},
    {},
    'error agent config.encoder.simple.mults',
    {'encoder__simple__mults': (2,)},
  ),
  'mesh': (
    {'mesh__data': 64},
    {},
    'error batch config.mesh: data 64 x fsdp 1 x tensor 1 does not make up',
    {'mesh__data': -1},
  ),
  'tensor': (
    {'mesh__tensor': 64, 'mesh__data': 1},
    {'processes': 64},
    'error batch config.mesh.tensor = 64: must divide the devices of a process',
    {'mesh__tensor': 1},
  ),
  'rows': (
    {'train__envs': 4},
    {'processes': 4},
    'error batch config.train.batch_size = 2: must be a multiple of the 4 proc',
    {
      'train__envs': 4,
      'train__batch_size': 4,
      'train__steps': 200,
    },
  ),
  'envs': (
    {'train__batch_size': 4},
    {'processes': 4},
    'error batch config.train.envs = 2: must be a multiple of the 4 processes.',
    {
      'train__envs': 4,
      'train__batch_size': 4,
      'train__steps': 200,
    },
  ),
  'async': (
    {'train__act_async': True},
    {'processes': 2},
    'error batch config.train.act_async',
    {},
  ),
  'length': (
    {'train__batch_length': 300, 'train__steps': 5000},
    {},
    'error replay config.replay.chunked.capacity = 512: ',
    {
      'train__batch_length': 300,
      'train__steps': 5000,
      'replay__chunked__capacity': 4096,
    },
  ),
  'context': (
    {'replay__chunked__consec': 60, 'train__batch_length': 8},
    {},
    'error replay config.replay.chunked.capacity = 512: ',
    {'train__batch_length': 8},
  ),
  'updates': (
    {'train__steps': 14},
    {},
    'error updates config.train.steps = 14: nothing is learnt, for there is '
    'enough to train on after 16 steps. Raise it to more than 16,',
    {'train__steps': 40},
  ),
  'selectors': (
    {'replay__chunked__selectors__names': ()},
    {},
    'error replay config.replay.chunked.selectors.names = (): ',
    {'replay__chunked__selectors__names': ('uniform',)},
  ),
  'environment': (
    custom('Nan'),
    {},
    'error environment ',
    custom('Honest'),
  ),
  'source': (
    {},
    {'source': Source(restore='nowhere')},
    'error source ',
    {},
  ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_found_and_its_remedy_works(name):
  changes, flags, text, better = MISTAKES[name]
  answer = check(changes, **flags)
  assert text in answer.text
  assert answer.text.endswith('The run would fail.')
  assert answer.status == 2
  flags = {} if name in ('source', 'async', 'tensor') else flags
  answer = check(better, compiling=False, **flags)
  assert answer.text.endswith('The run can begin.')
  assert answer.status == 0


def test_all_mistakes_are_told_at_once():
  changes = {'mesh__data': 64, 'encoder__simple__mults': (1, 1, 1, 1)}
  text = check(changes).text
  assert ' error batch ' in text and ' error agent ' in text
  # Without a replay nobody knows when updates begin.
  assert ' updates ' not in text


def test_a_package_that_is_missing_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  answer = check({'loggers__names': ('terminal', 'wandb')})
  assert 'error packages config.loggers.wandb: the package wandb' in answer.text
  assert "pip install 'dreamer_nnx[wandb]'" in answer.text
  assert answer.status == 2
  assert check(compiling=False).status == 0


def test_a_suite_that_is_missing_is_named(monkeypatch):
  monkeypatch.setattr(packages, '_wrong', lambda line: f'{line} is not there')
  answer = check({'env__name': 'crafter'})
  assert 'error environment config.env.name = ' in answer.text
  assert 'pip install crafter' in answer.text
  assert answer.status == 2


def test_a_replay_that_memory_does_not_hold_is_found(monkeypatch):
  monkeypatch.setattr(memory, 'available_bytes', lambda: 64 * MIB)
  large = {'replay__chunked__capacity': 10**6, 'train__steps': 10**6}
  answer = check(large | {'replay__chunked__storage': 'memory'})
  assert 'storage=disk keeps steps in files.' in answer.text
  assert answer.status == 2
  assert check(large | {'replay__chunked__storage': 'disk'}, compiling=False)


def test_a_state_that_memory_does_not_hold_is_found(monkeypatch):
  monkeypatch.setattr(preflight_memory, 'available_bytes', lambda: 1000)
  answer = check()
  assert ' error memory ' in answer.text
  assert 'take smaller ones, or --config.dynamics.rssm.remat' in answer.text
  assert answer.status == 2


def test_a_disk_that_is_too_full_is_found(monkeypatch, tmp_path):
  monkeypatch.setattr(paths, 'free_bytes', lambda folder: 1000)
  answer = check(workdir=tmp_path)
  assert f'error disk {tmp_path} will need ' in answer.text
  assert '4 checkpoints of ' in answer.text
  assert 'Free some, choose another --workdir' in answer.text
  assert answer.status == 2


def test_a_workdir_of_another_run_is_refused_and_left_alone(tmp_path):
  with lock_workdir(tmp_path / 'a') as owner:
    owner.keep()
    answer = check(workdir=tmp_path / 'a')
    assert 'error workdir ' in answer.text and ' trains in it.' in answer.text
    assert answer.status == 2
  assert check(workdir=tmp_path / 'a', compiling=False).status == 0


def test_a_workdir_that_cannot_be_written_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  answer = check(workdir=tmp_path / 'file' / 'a')
  assert 'error workdir ' in answer.text
  assert 'cannot be written' in answer.text
  assert answer.status == 2


def test_nothing_is_left_in_a_workdir(tmp_path):
  assert check(workdir=tmp_path / 'a' / 'b', compiling=False).status == 0
  assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
  """A workdir with a checkpoint of an agent before its first update."""
  folder = tmp_path_factory.mktemp('begun')
  changes = {'train__steps': 4, 'loggers__names': ()}
  with Run(config_of(**changes), folder) as run:
    run.train(evaluate=False)
  return folder


def test_a_run_goes_on(begun):
  before = sorted(begun.rglob('*'))
  answer = check(workdir=begun, compiling=False)
  assert 'goes on from step 4' in answer.text
  assert 'config.train.steps: 4 -> 60' in answer.text
  assert answer.status == 0
  assert sorted(begun.rglob('*')) == before


@pytest.fixture
def stored(begun, tmp_path):
  """A copy of that workdir, and the files of its replay."""
  folder = shutil.copytree(begun, tmp_path / 'run')
  files = sorted(x for x in (folder / 'replay').rglob('*') if x.is_file())
  assert files
  return folder, files


@pytest.mark.parametrize('how', ['missing', 'torn'])
def test_steps_that_cannot_be_read_back_are_found(stored, how):
  folder, files = stored
  for path in files:
    path.write_bytes(path.read_bytes()[:-20])
    if how == 'missing':
      path.unlink()
  before = sorted(folder.rglob('*'))
  answer = check(workdir=folder)
  assert (
    f'error replay config.replay: {len(files)} files of the checkpoint '
    in (answer.text)
  )
  assert f'{files[0].name}: {how}' in answer.text
  assert answer.status == 2
  with (
    pytest.raises(UserError, match=r'files of the checkpoint cannot be read'),
    Run(config_of(loggers__names=()), folder) as run,
  ):
    run.train(evaluate=False)
  left = {'replay__chunked__skip_damaged': True}
  assert check(left, workdir=folder, compiling=False).status == 0
  assert sorted(folder.rglob('*')) == before


def test_a_replay_that_cannot_tell_is_not_asked(begun, monkeypatch):
  monkeypatch.delattr(ChunkedReplay, 'check')
  assert check(workdir=begun, compiling=False).status == 0


def test_updates_that_are_left_are_told(begun):
  answer = check(workdir=begun, compiling=False)
  assert 'ok updates 0 are made; left are ' in answer.text
  assert ' up to step 60; the first after ' in answer.text


class Keeping:
  """Has a state that is no JSON, if it is told so."""

  def __init__(self, *, start: int = 1, odd: bool = False):
    self.start, self.odd = start, odd

  def stepped(self, trainer, step, finished):
    del trainer, step, finished

  def state(self):
    return {'a': np.zeros(3) if self.odd else self.start}

  def restore(self, state):
    if state != self.state():
      raise UserError(f'goes on from {self.state()} alone, not {state}.')


KEEPING = {'callbacks__names': (f'{__name__}:Keeping',)}


def test_a_callback_whose_state_cannot_be_saved_is_found():
  assert check(KEEPING, compiling=False).status == 0
  answer = check(KEEPING | {'callbacks__Keeping__odd': True})
  assert "its state has a ndarray at ['a'], and JSON has" in answer.text
  assert 'error callbacks config.callbacks.' in answer.text
  assert answer.status == 2


def test_a_callback_that_cannot_go_on_is_found(tmp_path):
  with Run(
    config_of(train__steps=4, loggers__names=(), **KEEPING), tmp_path
  ) as run:
    run.train(evaluate=False)
  assert check(KEEPING, workdir=tmp_path, compiling=False).status == 0
  answer = check(KEEPING | {'callbacks__Keeping__start': 2}, workdir=tmp_path)
  assert "goes on from {'a': 2} alone, not {'a': 1}." in answer.text
  assert answer.status == 2


def test_a_run_without_steps_left_is_warned_of(begun):
  answer = check({'train__steps': 4}, workdir=begun, compiling=False)
  assert 'warning updates The checkpoint is of step 4: none of the 4' in (
    answer.text
  )


@pytest.mark.parametrize(
  ('changes', 'text'),
  [
    ({'env__name': 'catch'}, 'the run was begun with '),
    ({'dynamics__rssm__deter': 32}, 'Was the size changed?'),
    ({'env__track__size': 16}, 'Set it back to 8.'),
  ],
)
def test_a_checkpoint_that_does_not_fit_is_found(begun, changes, text):
  answer = check(changes, workdir=begun)
  assert 'error checkpoint ' in answer.text and text in answer.text
  assert answer.status == 2


def test_arrays_of_another_run_are_looked_for(begun, capsys):
  source = Source(restore=begun, include='^encoder/')
  answer = check(source=source, compiling=False)
  assert 'ok source ' in answer.text and 'arrays are taken' in answer.text
  answer = check(source=Source(restore=begun, include='nothing'))
  assert 'matches nothing' in answer.text
  assert answer.status == 2


@pytest.mark.parametrize(
  ('changes', 'text'),
  [
    ({'train__train_ratio': 0.0}, 'for config.train.train_ratio = 0.0. Raise'),
    ({'train__log_every': 61}, 'config.train.log_every = 61: is longer than'),
    ({'train__save_every': 61}, 'The only checkpoint is that of the end.'),
    ({'evaluate__stop_at': 1.0}, 'Set config.evaluate.every.'),
    ({'precision__compute': 'float16'}, 'cpu has no float16, and emulates it.'),
    (
      {'plugins': ('tests.envs.lying',)},
      "the config chooses nothing that 'tests.envs.lying' registers.",
    ),
  ],
)
def test_what_may_be_meant_is_a_warning(changes, text):
  answer = check(changes, compiling=False)
  assert ' warning ' in answer.text and text in answer.text
  assert answer.status == 0


def test_nothing_is_warned_of_without_reason():
  text = check(compiling=False).text
  assert 'warning' not in text and 'error' not in text


def test_a_plugin_whose_environment_is_chosen_is_read():
  plugins = {'plugins': ('tests.envs.lying',)}
  assert (
    'chooses nothing'
    not in check(plugins | custom('Honest'), compiling=False).text
  )
