"""Rows of a batch from two replays."""

import json

import numpy as np
import pytest

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.replay import generators
from dreamer_nnx.replay.index import IndexFormError
from dreamer_nnx.slots import REPLAY
from tests.replay import streams
from tests.replay.list_replay import ListReplay
from tests.replay.streams import SPACES, saved

LISTS = 'tests.replay.test_mixture:Counted'


class Counted(ListReplay):
  """Notes what it is told of."""

  def __init__(
    self,
    spaces,
    num_envs,
    batch_size,
    batch_length,
    seed,
    context_needed,
    *,
    offset: int = 0,
    extra: int = 0,
  ):
    super().__init__(spaces, num_envs, batch_size, batch_length, seed)
    self.context = context_needed + extra
    self.told = []
    self.notes = (f'offset {offset}',)
    if offset:
      for time in range(20):
        self.add(streams.step(offset + time, num_envs))

  def update(self, handle, entries, signals):
    self.told.append((entries, signals))
    assert len(handle) == self.batch_size


class Filled(Counted):
  """Holds counts from 501 on."""

  def __init__(
    self,
    spaces,
    num_envs,
    batch_size,
    batch_length,
    seed,
    context_needed,
    *,
    extra: int = 0,
  ):
    super().__init__(
      spaces,
      num_envs,
      batch_size,
      batch_length,
      seed,
      context_needed,
      offset=500,
      extra=extra,
    )


def make(batch_size=16, seed=3, directory='', live=None, data=None, **fields):
  live = live or Choice(REPLAY, LISTS)
  data = data or Choice(REPLAY, 'tests.replay.test_mixture:Filled')
  given = {
    'spaces': SPACES,
    'num_envs': 2,
    'batch_size': batch_size,
    'batch_length': 3,
    'directory': str(directory),
    'seed': seed,
    'process': 0,
    'processes': 1,
    'steps': 0,
    'scratch': '',
    'context_needed': 1,
    'signals': ('model',),
  }
  choice = Choice(REPLAY, 'mixture', live=live, data=data, **fields)
  return choice.at('config.replay')(**given)


def fill(replay, steps=20):
  for time in range(steps):
    replay.add(streams.step(time, 2))
  return replay


def is_data(batch):
  """Rows of the data, all of whose counts are above 500."""
  return (batch['count'] % 1000 > 500).all(1)


@pytest.mark.parametrize(
  ('share', 'size', 'count'), [(0.25, 16, 4), (0.5, 2, 1), (0.3, 8, 2)]
)
def test_the_share_of_rows_is_exact_in_every_batch(share, size, count):
  replay = fill(make(size, share=share))
  for _ in range(10):
    batch, _ = replay.sample()
    assert is_data(batch).tolist() == [False] * (size - count) + [True] * count
    for key, x in SPACES.items():
      assert batch[key].shape == (size, 4, *x.shape)
      assert batch[key].dtype == x.dtype
    assert (np.diff(batch['count'], axis=1) == 1).all()


@pytest.mark.parametrize(('share', 'of'), [(0.02, 'none'), (0.98, 'all')])
def test_a_share_without_rows_is_refused(share, of):
  with pytest.raises(UserError, match=f'is {of} of the 16 rows') as caught:
    make(share=share)
  assert caught.value.path == 'config.replay.mixture.share'


def test_all_rows_are_data_until_there_are_steps():
  replay = make(share=0.3, batch_size=8)
  assert replay.ready and len(replay) == 40
  batch, handle = replay.sample()
  assert is_data(batch).all() and len(batch['count']) == 8
  entries = {'latent/deter': np.arange(8 * 6.0).reshape(8, 3, 2)}
  replay.update(handle, entries, {'model': np.zeros((8, 3))})
  told = [x['latent/deter'] for x, _ in replay._data.told]
  assert np.array_equal(np.concatenate(told), entries['latent/deter'])
  fill(replay, 2)
  assert not replay.ready
  fill(replay, 2)
  assert replay.ready


def test_windows_drawn_in_part_are_not_written_back():
  replay = make(share=3 / 8, batch_size=8)
  batch, handle = replay.sample()
  assert len(batch['count']) == 8 and is_data(batch).all()
  zeros = np.zeros((8, 3))
  replay.update(handle, {}, {'model': zeros})
  assert len(replay._data.told) == 2


def test_each_replay_is_told_of_its_own_rows():
  replay = fill(make(share=0.25))
  _, handle = replay.sample()
  number = np.broadcast_to(np.arange(16)[:, None], (16, 3))
  replay.update(handle, {'latent/deter': number}, {'model': -number})
  for part, rows in ((replay._live, range(12)), (replay._data, range(12, 16))):
    ((entries, signals),) = part.told
    assert entries['latent/deter'][:, 0].tolist() == list(rows)
    assert signals['model'][:, 0].tolist() == [-x for x in rows]


def test_steps_are_added_to_the_live_replay_alone():
  replay = fill(make())
  assert len(replay._live) == 40 and len(replay._data) == 40
  assert len(replay) == 80
  assert list(replay.notes) == ['offset 0', 'offset 500']


def test_windows_have_the_shorter_context():
  data = Choice(REPLAY, 'tests.replay.test_mixture:Filled', extra=2)
  replay = fill(make(data=data))
  assert replay.context == 1
  batch, _ = replay.sample()
  assert batch['count'].shape == (16, 4)
  live = Choice(REPLAY, LISTS, extra=1)
  replay = fill(make(live=live, data=data))
  assert replay.context == 2
  assert replay.sample()[0]['count'].shape == (16, 5)


def chunked(**fields):
  return Choice(
    REPLAY, 'chunked', capacity=80, chunk_size=5, online=False, **fields
  )


def dataset(folder):
  run = streams.make(folder, capacity=80)
  streams.fill(run, 500, 520)
  saved(run)
  return Choice(REPLAY, 'dataset', path=str(folder))


@pytest.fixture
def parts(tmp_path):
  return {'live': chunked(), 'data': dataset(tmp_path / 'data')}


def test_rows_say_how_they_begin(parts):
  replay = fill(make(**parts), 40)
  batch, _ = replay.sample()
  assert is_data(batch).sum() == 4
  assert (batch[CONSEC] == -1).tolist() == is_data(batch).tolist()
  assert batch[CONSEC].dtype == np.int32


def test_the_fixed_rows_of_a_batch_are_never_written_to(parts):
  replay = fill(make(**parts), 40)
  for _ in range(20):
    batch, handle = replay.sample()
    assert not batch['latent/deter'][is_data(batch)].any()
    ones = np.ones((16, 3, 2), np.float32)
    signals = {'model': np.ones((16, 3), np.float32)}
    replay.update(handle, {'latent/deter': ones}, signals)
  assert (batch['latent/deter'][~is_data(batch)] == 1).any()


def test_a_saved_mixture_goes_on_with_the_same_draws(parts, tmp_path):
  place = tmp_path / 'run'
  replay = fill(make(directory=place, **parts), 40)
  replay.sample()
  index = saved(replay)
  expected = [replay.sample()[0] for _ in range(3)]
  other = make(directory=place, seed=8, **parts)
  other.load(index)
  for batch in expected:
    assert streams.same(other.sample()[0], batch)


def test_files_of_the_live_steps_are_kept_and_released(parts, tmp_path):
  place = tmp_path / 'run'
  replay = fill(make(directory=place, **parts), 12)
  names = set(replay.files(saved(replay)))
  assert names and names == set(replay.files(None))
  kept = []
  replay._live.retain = kept.append
  replay.retain(names)
  assert kept == [names]


def test_shares_of_a_mixture_hold_all_steps_together(parts, tmp_path):
  place, indices = tmp_path / 'run', []
  given = {'directory': str(place), **parts}
  replay = fill(make(**given), 40)
  indices.append(saved(replay))
  shares = []
  for share in range(2):
    part = make(**given)
    part.load_share(indices, share, 2)
    shares.append(part)
  assert sum(len(x._live) for x in shares) == 80
  assert all(len(x._data) == 40 for x in shares)


def test_going_back_after_divergence_changes_both_draws(parts, tmp_path):
  replay = fill(make(directory=tmp_path / 'run', **parts), 40)
  index = saved(replay)
  other = generators.reseeded(index, 5)
  for name in ('live', 'data'):
    assert other[name]['rng'] != index[name]['rng']
  assert other['live']['rng'] != other['data']['rng']


@pytest.mark.parametrize('index', [{}, {'live': {}}, {'data': {}}, []], ids=str)
def test_an_index_of_another_form_is_refused(parts, index):
  replay = make(**parts)
  for read in (replay.load, replay.check):
    with pytest.raises(IndexFormError, match='no mixture saves one without'):
      read(index)


def test_each_replay_checks_its_part_if_it_can(parts, tmp_path):
  index = saved(fill(make(directory=tmp_path / 'run', **parts), 40))
  replay = make(directory=tmp_path / 'run', **parts)
  replay.check(index)
  next((tmp_path / 'run').glob('*.data')).unlink()
  with pytest.raises(UserError, match='files of the checkpoint cannot be read'):
    replay.check(index)


def test_metrics_of_the_data_have_a_group_of_their_own(parts):
  replay = fill(make(**parts), 40)
  replay.sample()
  stats = replay.stats()
  assert stats['steps'] == 80 and stats['data/steps'] == 40
  assert stats['samples'] == 12 and stats['data/samples'] == 4
  json.dumps(stats)


def test_a_mistake_in_a_nested_replay_has_its_path():
  with pytest.raises(UserError) as caught:
    make(data=Choice(REPLAY, 'dataset').at('config.replay.mixture.data'))
  assert caught.value.path == 'config.replay.mixture.data.dataset.path'
