"""Any checkpoint that is kept can be gone back to, with its replay."""

import shutil

import pytest

from dreamer_nnx.replay import sharing
from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import arguments, launch
from tests.test_resume import assert_same, state_of

OPTIONS = {
  'train__save_every': 4,
  'checkpoint__keep_every': 20,
  'replay__chunked__chunk_size': 8,
  # Less than all steps, so that chunks are recycled meanwhile.
  'replay__chunked__capacity': 48,
  'replay__chunked__selectors__names': 'uniform,priority',
  'replay__chunked__selectors__priority__share': 0.5,
}


def flags(workdir, *more, **changes):
  options = arguments(workdir, **OPTIONS | changes)
  return [*options, '--mode=train', *more]


def steps(workdir):
  names = [path.name for path in (workdir / 'checkpoints').iterdir()]
  return sorted(int(name) for name in names if name.isdigit())


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run that kept its first checkpoint, one in 20 steps, and the last."""
  workdir = tmp_path_factory.mktemp('whole')
  result = launch(flags(workdir))
  assert result.status == 0, result.err
  assert steps(workdir) == [4, 24, 44, 56, 60]
  return workdir


@pytest.mark.parametrize('step', [24, 44])
def test_the_same_future_follows_from_any_of_them(whole, tmp_path, step):
  workdir = shutil.copytree(whole, tmp_path / 'run')
  result = launch(flags(workdir, f'--restore_step={step}'))
  assert result.status == 0, result.err
  assert not result.err
  assert_same(state_of(whole), state_of(workdir))


def test_nothing_is_stored_that_none_of_them_needs(whole):
  needed = set()
  for step in steps(whole):
    (state,) = load_meta(whole, step)['processes']
    needed |= sharing.files(state['replay'])
  files = [path for path in (whole / 'replay').iterdir() if path.is_file()]
  assert {path.name for path in files} == needed


def test_an_unreadable_checkpoint_keeps_what_it_may_need(whole, tmp_path):
  workdir = shutil.copytree(whole, tmp_path / 'run')
  before = {path.name for path in (workdir / 'replay').iterdir()}
  shutil.rmtree(workdir / 'checkpoints' / '24' / 'meta')
  result = launch(flags(workdir, train__steps=64))
  assert result.status == 0, result.err
  assert before <= {path.name for path in (workdir / 'replay').iterdir()}


def test_without_latents_a_run_resumes_with_fresh_ones_and_says_so(
  tmp_path, caplog
):
  changes = {'replay__chunked__save_latents': False}
  assert launch(flags(tmp_path, train__steps=32, **changes)).status == 0
  result = launch(flags(tmp_path, **changes))
  assert result.status == 0, result.err
  assert 'the latents of 32 of 32 steps are not stored' in caplog.text


def test_a_run_on_disk_equals_one_in_memory(whole, tmp_path):
  changes = {'replay__chunked__storage': 'disk'}
  scratch = tmp_path / 'scratch'
  result = launch(flags(tmp_path / 'run', f'--scratch={scratch}', **changes))
  assert result.status == 0, result.err
  assert f'in files in {scratch} that are mapped into memory' in result.out
  assert_same(state_of(whole), state_of(tmp_path / 'run'))
