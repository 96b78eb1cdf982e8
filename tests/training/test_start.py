"""What a workdir was started from is done once, and never half."""

import json
import shutil

import gcsfs
import jax.numpy as jnp
import pytest

from dreamer_nnx import paths
from dreamer_nnx.training import checkpoint_files as files
from dreamer_nnx.training.checkpoint import Checkpoints, find, load_meta
from dreamer_nnx.training.record import CheckpointError, Record
from dreamer_nnx.training.start import Source, Start, plan


def save(workdir, *steps, value=0, **options):
  with Checkpoints(workdir / 'checkpoints', **options) as checkpoints:
    for step in steps:
      state = {'x': jnp.full((3,), value + step)}
      assert checkpoints.save(step, state, {}, {'value': value})


@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('fresh')
  begin(workdir)
  save(workdir, 10, 20, 30, keep_last=3)
  return workdir


@pytest.fixture
def workdir(fresh, tmp_path):
  """One that was started from fresh parameters, with three steps."""
  return shutil.copytree(fresh, tmp_path / 'run')


def begin(workdir, back=None, again=False, **source):
  start = Start(workdir, Source(**source), back, again)
  start.record()
  return start.step


def test_a_new_workdir_starts_anew_and_records_from_where(tmp_path):
  assert begin(tmp_path, restore='runs/other', include='^enc') is None
  record = Record.read(tmp_path / 'checkpoints')
  assert record.source['restore'].endswith('/runs/other')
  assert record.source['restore_include'] == '^enc'


def test_the_same_source_again_goes_on_and_says_so(tmp_path, capsys):
  source = {'restore': tmp_path / 'other', 'exclude': '^enc'}
  # Killed before the first save: once more from the source.
  assert begin(tmp_path, **source) is begin(tmp_path, **source) is None
  save(tmp_path, 10)
  capsys.readouterr()
  assert begin(tmp_path, **source) == 10
  assert capsys.readouterr().out == (
    f'{tmp_path} was started by --restore={tmp_path}/other '
    '--restore_include=.* --restore_exclude=^enc before; it goes on from step '
    '10, its latest. --restore_again does it anew.\n'
  )
  # No flags ask for nothing.
  assert begin(tmp_path) == 10
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
  'change',
  [
    {'restore': '/b'},
    {'step': 5},
    {'include': 'x'},
    {'exclude': 'x'},
    {'restore': None, 'reference': '/c'},
  ],
)
def test_another_source_is_an_error_that_names_both(tmp_path, change):
  begin(tmp_path, restore='/a')
  save(tmp_path, 10)
  with pytest.raises(CheckpointError) as error:
    begin(tmp_path, **{'restore': '/a'} | change)
  assert '--restore=/a' in str(error.value)
  for word in filter(None, change.values()):
    assert str(word) in str(error.value)
  assert begin(tmp_path, **{'restore': '/a'} | change, again=True) is None
  assert files.kept(tmp_path) == []


def test_a_source_for_a_run_from_fresh_parameters_is_an_error(workdir):
  with pytest.raises(CheckpointError, match='started from fresh parameters'):
    begin(workdir, reference='/c')
  assert begin(workdir) == 30


def test_an_older_workdir_records_nothing_and_goes_on(workdir, capsys):
  (workdir / 'checkpoints' / 'start.json').unlink()
  assert begin(workdir, restore='/a') == 30
  assert 'goes on from step 30' in capsys.readouterr().out
  with pytest.raises(CheckpointError, match=r'--restore=/b .* --restore=/a'):
    begin(workdir, restore='/b')


def test_going_back_is_done_once(workdir, capsys):
  assert begin(workdir, back=10) == 10
  assert files.kept(workdir) == [10]
  # Killed before the next save, and after it.
  assert begin(workdir, back=10) == 10
  save(workdir, 15, keep_last=3)
  capsys.readouterr()
  assert begin(workdir, back=10) == 15
  assert capsys.readouterr().out == (
    f'{workdir} went back to step 10 before; it goes on from step 15, its '
    'latest. --restore_again does it anew.\n'
  )
  with pytest.raises(CheckpointError, match=r'--restore_step=15: .* step 10'):
    begin(workdir, back=15)
  assert begin(workdir, back=10, again=True) == 10
  assert files.kept(workdir) == [10]


def test_going_back_behind_a_damaged_step(workdir):
  shutil.rmtree(workdir / 'checkpoints' / '30' / 'meta')
  with pytest.raises(CheckpointError, match=r'step 30 .* is damaged'):
    begin(workdir)
  assert begin(workdir, back=20) == 20 == begin(workdir)


def test_a_step_that_is_not_there_changes_nothing(workdir):
  before = (workdir / 'checkpoints' / 'start.json').read_text()
  with pytest.raises(CheckpointError, match=r'no .*step 25. .* 10, 20, 30\.'):
    begin(workdir, back=25)
  assert (workdir / 'checkpoints' / 'start.json').read_text() == before


def test_nothing_is_superseded_before_the_start_was_read(workdir):
  start = Start(workdir, Source(restore='/a'), None, again=True)
  assert start.step is None and files.kept(workdir) == [10, 20, 30]
  start.record()
  assert files.kept(workdir) == []


def test_superseded_steps_stay_and_are_read_by_their_path(workdir):
  begin(workdir, back=10)
  root = workdir / 'checkpoints' / '30'
  assert find(root) == root and load_meta(root) == {'value': 0}
  with pytest.raises(CheckpointError, match='step 30; it is superseded'):
    find(workdir, 30)
  with pytest.raises(CheckpointError, match='step 30; it is superseded'):
    begin(workdir, back=30, again=True)


def test_orbax_neither_counts_nor_deletes_what_is_superseded(workdir):
  begin(workdir, back=10)
  save(workdir, 15, 17, keep_last=2)
  assert files.kept(workdir) == [15, 17]
  assert (workdir / 'checkpoints' / '30' / 'state').is_dir()


@pytest.mark.parametrize('left', ['all', 'part', 'nothing'])
def test_a_step_of_the_same_number_replaces_a_superseded_one(workdir, left):
  begin(workdir, back=10)
  root = workdir / 'checkpoints' / '20'
  # As a kill while it was being replaced leaves it.
  if left != 'all':
    shutil.rmtree(root if left == 'nothing' else root / 'state')
  save(workdir, 20, value=7, keep_last=3)
  assert files.kept(workdir) == [10, 20]
  assert load_meta(workdir) == {'value': 7}
  assert Record.read(workdir / 'checkpoints').superseded == {30}


def test_the_workdir_itself_is_no_source(workdir):
  for path in (workdir, workdir / 'checkpoints'):
    with pytest.raises(CheckpointError, match='is the workdir itself'):
      begin(workdir, restore=path, again=True)


def test_what_does_not_go_together_is_refused(workdir):
  with pytest.raises(CheckpointError, match='--restore_again: goes with'):
    begin(workdir, again=True)
  with pytest.raises(
    ValueError, match='--restore: goes without --import_reference'
  ):
    Source(restore='/a', reference='/b')


@pytest.mark.parametrize(
  'harm',
  [
    lambda found: found[:-4],
    lambda found: '[]',
    lambda found: json.dumps(json.loads(found) | {'superseded': 'all'}),
    lambda found: json.dumps(json.loads(found) | {'back': 'x'}),
  ],
)
def test_a_damaged_record_is_named(workdir, harm):
  file = workdir / 'checkpoints' / 'start.json'
  file.write_text(harm(file.read_text()))
  with pytest.raises(CheckpointError, match=r'start\.json cannot be read'):
    plan(workdir, {}, None, False)


def test_a_bucket_that_lists_nothing_is_no_new_run(
  store, tmp_path, monkeypatch
):
  workdir = paths.parse(f'gs://bkt/{tmp_path.name}', 'path')
  Record(source={}).write(workdir / 'checkpoints')
  paths.write(workdir / 'checkpoints' / '10' / files.COMMITTED, b'')
  assert files.kept(workdir) == [10]
  whole = gcsfs.core.GCSFileSystem._call

  async def call(self, method, path, *args, **kwargs):
    if 'prefix' in kwargs:
      raise OSError('Forbidden: b/bkt/o')
    return await whole(self, method, path, *args, **kwargs)

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', call)
  with pytest.raises(OSError, match='Forbidden'):
    plan(workdir, {}, None, again=False)


@pytest.mark.parametrize('place', ['', 'gs://bkt'])
def test_a_probe_may_be_deleted_by_one_elsewhere_of_the_same_name(
  store, tmp_path, place, monkeypatch
):
  whole = paths.write

  def write(path, data):
    whole(path, data)
    path.unlink()

  monkeypatch.setattr(paths, 'write', write)
  directory = paths.parse(f'{place}{tmp_path}/run', 'path')
  assert files.writable(directory) == directory


@pytest.mark.parametrize('place', ['', 'gs://bkt'])
def test_a_step_that_is_deleted_while_it_is_read_is_not_damaged(
  store, tmp_path, place
):
  directory = paths.parse(f'{place}{tmp_path}/run', 'path') / 'checkpoints'
  for step in ('10', '20'):
    (directory / step).mkdir(parents=True, exist_ok=True)
    paths.write(directory / step / files.COMMITTED, b'')
  with (
    pytest.raises(CheckpointError) as caught,
    files.reading(directory / '10', 'state'),
  ):
    paths.remove(directory / '10')
    raise FileNotFoundError('state')
  assert str(caught.value) == (
    f'checkpoint step 10 in {directory} has been deleted meanwhile. Other '
    'steps there: 20; --restore_step goes on from one.'
  )


def test_a_file_that_is_deleted_while_it_is_verified_is_named(
  workdir, monkeypatch
):
  root, whole = find(workdir, 10), files._files

  def listed(root):
    found = whole(root)
    shutil.rmtree(root / 'meta')
    return found

  monkeypatch.setattr(files, '_files', listed)
  with pytest.raises(CheckpointError, match=r'step 10 in .* is damaged: meta/'):
    files.verify(root, ('meta',))


def test_a_bucket_that_fails_has_damaged_nothing(store, tmp_path):
  root = paths.parse(f'gs://bkt/{tmp_path.name}/checkpoints/10', 'path')
  with pytest.raises(CheckpointError) as caught, files.reading(root, 'meta'):
    raise paths.StoreError('try later, 503')
  assert str(caught.value) == (
    f'checkpoint step 10 in {root.parent}: meta cannot be read; the bucket '
    'cannot be used (try later, 503).'
  )
