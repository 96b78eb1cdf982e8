"""Fixed data as a replay."""

import json
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Bounds
from dreamer_nnx.registry import Choice
from dreamer_nnx.replay import generators, sources
from dreamer_nnx.replay.dataset import DatasetReplay
from dreamer_nnx.replay.index import IndexFormError
from dreamer_nnx.slots import REPLAY
from tests.replay import streams
from tests.replay.streams import classes, saved, space

SPACES = {
  'count': space((), 'float32'),
  'image': space((2, 3, 1), 'uint8'),
  'action': classes((), (3,)),
  'reward': space((), 'float32'),
  'is_first': space((), 'bool'),
  'is_last': space((), 'bool'),
  'is_terminal': space((), 'bool'),
  'latent/deter': space((2,), 'float32'),
  'latent/stoch': space((3,), 'int8'),
}


def episode(number, length):
  """Step t of episode e has count 100 e + t, and all else is made of that."""
  count = 100 * number + np.arange(length)
  flags = {k: np.zeros(length, bool) for k in ('is_first', 'is_last')}
  flags['is_first'][0] = flags['is_last'][-1] = True
  pixels = np.arange(6).reshape(2, 3, 1)
  return {
    'count': count.astype(np.float64),
    'image': (count[:, None, None, None] + pixels).astype(np.uint8),
    'action': count % 3,
    'reward': count / 10,
    'is_terminal': flags['is_last'].copy(),
    **flags,
  }


def write(folder, lengths):
  folder.mkdir(exist_ok=True, parents=True)
  for number, length in enumerate(lengths):
    np.savez(folder / f'{number:03}.npz', **episode(number, length))
  return folder


def make(path, seed=0, spaces=SPACES, **given):
  given = {'batch_size': 4, 'batch_length': 3, 'context_needed': 1} | given
  return Choice(REPLAY, 'dataset', path=str(path)).at('config.replay')(
    **dict.fromkeys(REPLAY.given) | {'spaces': spaces, 'seed': seed} | given
  )


def test_windows_are_steps_of_the_files_in_order(tmp_path):
  replay = make(write(tmp_path, [5, 7, 4]), batch_size=64)
  assert len(replay) == 16 and replay.ready and replay.context == 1
  batch, _ = replay.sample()
  every = np.concatenate(
    [episode(i, n)['count'] for i, n in enumerate([5, 7, 4])]
  )
  windows = np.lib.stride_tricks.sliding_window_view(every, 4).tolist()
  assert {tuple(x) for x in batch['count']} == {tuple(x) for x in windows}
  pixels = batch['count'][..., None, None, None] + np.arange(6).reshape(2, 3, 1)
  assert (batch['image'] == pixels.astype(np.uint8)).all()
  np.testing.assert_allclose(batch['reward'], batch['count'] / 10)
  assert (batch['is_first'] == (batch['count'] % 100 == 0)).all()


def test_batches_have_the_spaces_and_begin_from_nothing(tmp_path):
  batch, _ = make(write(tmp_path, [9])).sample()
  assert batch.keys() == SPACES.keys() | {CONSEC}
  for key, expected in SPACES.items():
    assert batch[key].shape == (4, 4, *expected.shape)
    assert batch[key].dtype == expected.dtype
  assert batch[CONSEC].tolist() == [-1] * 4
  assert batch[CONSEC].dtype == np.int32
  assert not batch['latent/deter'].any()


def test_nothing_that_is_added_or_written_back_changes_the_data(tmp_path):
  path = write(tmp_path, [9])
  one, other = make(path), make(path)
  for _ in range(3):
    batch, handle = one.sample()
    entries = {'latent/deter': np.ones((4, 3, 2), np.float32)}
    one.update(handle, entries, {'model': np.ones((4, 3))})
    one.add(
      {key: value[:2, 0] for key, value in batch.items() if key != CONSEC}
    )
    again, _ = other.sample()
    assert streams.same(batch, again)
  assert len(one) == 9
  assert 'no steps of the environments are added' in ' '.join(one.notes)


def test_ends_that_only_the_next_episode_shows_are_marked(tmp_path):
  write(tmp_path, [5, 5])
  cut = episode(0, 5) | {'is_last': np.zeros(5, bool)}
  np.savez(tmp_path / '000.npz', **cut)
  batch, _ = make(tmp_path, batch_size=64).sample()
  assert (batch['is_last'] == (batch['count'] % 100 == 4)).all()


def test_draws_go_on_from_a_save(tmp_path):
  path = write(tmp_path, [30])
  whole = make(path)
  whole.sample()
  index = saved(whole)
  expected = [whole.sample()[0] for _ in range(3)]
  other = make(path, seed=9)
  other.load(index)
  for batch in expected:
    assert streams.same(other.sample()[0], batch)
  assert other.stats()['samples'] == 4 * 4


def test_another_number_of_processes_draws_anew(tmp_path):
  path = write(tmp_path, [30])
  indices = [saved(make(path, seed)) for seed in range(2)]
  replays = [make(path) for _ in range(3)]
  for share, replay in enumerate(replays):
    replay.load_share(indices, share, 3)
    assert len(replay) == 30
  pair = [make(path) for _ in range(2)]
  for share, replay in enumerate(pair):
    replay.load_share(indices, share, 2)
    expected = make(path, share).sample()[0]
    assert streams.same(replay.sample()[0], expected)


def test_going_back_after_divergence_changes_the_draws(tmp_path):
  path = write(tmp_path, [30])
  index = saved(make(path))
  other = make(path)
  other.load(generators.reseeded(index, 7))
  assert not streams.same(other.sample()[0], make(path).sample()[0])


@pytest.mark.parametrize(
  'change',
  [
    {'rng': None},
    {'rng': {'bit_generator': 'MT19937'}},
    {'saves': -1},
    {'samples': 'many'},
  ],
  ids=str,
)
def test_an_index_of_another_form_is_refused(tmp_path, change):
  replay = make(write(tmp_path, [30]))
  replay.check(saved(replay))
  for read in (replay.load, replay.check):
    with pytest.raises(IndexFormError):
      read(saved(replay) | change)


@pytest.mark.parametrize(
  ('change', 'text'),
  [
    ({'action': None}, r"000\.npz has no 'action'; it has count, image, is_f"),
    ({'reward': None}, r"000\.npz has no 'reward'; it has action, count"),
    ({'image': np.zeros((5, 2, 2, 1), 'u1')}, r"'image' is \(5, 2, 2, 1\), "),
    ({'image': np.zeros((5, 2, 3, 1))}, "'image' is float64, and must be uint"),
    ({'action': np.zeros(6, int)}, r"'action' is \(6,\), and must be \(5,\)"),
    ({'action': np.full(5, -1)}, "'action' is -1 somewhere; the environment h"),
    ({'action': np.arange(5)}, "'action' is 3 somewhere; .* has 3 classes"),
    ({'reward': np.full(5, np.nan)}, "'reward' is NaN or infinite somewhere"),
    ({'is_first': np.zeros(5, bool)}, r'has to begin an episode: is_first\[0'),
  ],
  ids=lambda x: next(iter(x)) if isinstance(x, dict) else '',
)
def test_files_that_do_not_fit_are_named(tmp_path, change, text):
  arrays = {k: x for k, x in (episode(0, 5) | change).items() if x is not None}
  np.savez(tmp_path / '000.npz', **arrays)
  with pytest.raises(UserError, match=text) as caught:
    make(tmp_path)
  assert caught.value.path == 'config.replay.dataset.path'
  assert caught.value.got == f' = {str(tmp_path)!r}'


def test_classes_of_each_number_are_its_own(tmp_path):
  spaces = SPACES | {'action': classes((2,), (2, 5))}
  arrays = episode(0, 5)
  for action, fits in (([1, 4], True), ([4, 1], False)):
    arrays['action'] = np.tile(action, (5, 1))
    np.savez(tmp_path / '000.npz', **arrays)
    if fits:
      make(tmp_path, spaces=spaces)
    else:
      with pytest.raises(UserError, match=r'4 somewhere; .* 2 x 5 classes'):
        make(tmp_path, spaces=spaces)


def test_indices_without_known_classes_are_counted_from_0(tmp_path):
  spaces = SPACES | {'action': space((), 'int32')}
  np.savez(tmp_path / '0.npz', **episode(0, 5) | {'action': np.full(5, -1)})
  with pytest.raises(UserError, match='-1 somewhere; classes are counted'):
    make(tmp_path, spaces=spaces)


def test_what_a_behaviour_adds_may_be_missing_and_is_said(tmp_path):
  spaces = SPACES | {'acting/plan': space((2,), 'float32')}
  replay = make(write(tmp_path / 'a', [5]), spaces=spaces)
  assert not replay.sample()[0]['acting/plan'].any()
  assert any('acting/plan' in note for note in replay.notes)
  arrays = episode(0, 5) | {'acting/plan': np.ones((5, 2), np.float32)}
  (tmp_path / 'b').mkdir()
  np.savez(tmp_path / 'b' / '0.npz', **arrays)
  replay = make(tmp_path / 'b', spaces=spaces)
  assert replay.sample()[0]['acting/plan'].all()
  assert not any('acting/plan' in note for note in replay.notes)


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('', 'is empty. Name the folder'),
    ('nowhere', 'there is no such file or folder'),
    ('empty', 'it has neither'),
    ('text.npz', 'cannot be read'),
    ('cut', r'000\.npz cannot be read'),
    ('short', 'a window has 4 steps, and no more than 3 are there in a row'),
  ],
)
def test_paths_without_data_are_refused(tmp_path, name, text):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'text.npz').write_text('no zip')
  file = write(tmp_path / 'cut', [5]) / '000.npz'
  file.write_bytes(file.read_bytes()[:-40])
  write(tmp_path / 'short', [3])
  with pytest.raises(UserError, match=text) as caught:
    make(tmp_path / name if name else '')
  assert caught.value.path == 'config.replay.dataset.path'


def test_pickled_arrays_are_not_loaded(tmp_path):
  arrays = episode(0, 5) | {'reward': np.array([print] * 5, object)}
  np.savez(tmp_path / '0.npz', **arrays)
  with pytest.raises(UserError, match='cannot be read'):
    make(tmp_path)


def run_of(directory, steps, **config):
  """The files of a replay of two workers, in chunks of 5."""
  replay = streams.make(directory, capacity=400, **config)
  indices = []
  for begin in range(0, steps, 7):
    streams.fill(replay, begin, min(steps, begin + 7))
    indices.append(saved(replay))
  return replay


def chunked_spaces():
  return streams.SPACES


def make_chunked(path, **given):
  given = {'batch_size': 64, 'batch_length': 2} | given
  return make(path, spaces=chunked_spaces(), **given)


def test_steps_of_another_run_are_found_without_its_checkpoint(tmp_path):
  run_of(tmp_path, 23)
  replay = make_chunked(tmp_path)
  assert len(replay) == 46
  batch, _ = replay.sample()
  # Worker w at time t has count 1000 w + t + 1, in chunks of 5.
  times = batch['count'] % 1000 - 1
  assert (np.diff(batch['count'], axis=1) == 1).all()
  assert (times[:, 0] // 5 == times[:, -1] // 5).all()
  assert {0, 1} == set((batch['count'] // 1000).flat)
  assert (batch['image'][:, :, 0, 0, 0] == batch['count'] * 7 % 256).all()
  assert (batch['is_first'] == (times == 0)).all()
  assert not batch['latent/deter'].any()


def test_steps_of_all_processes_of_a_run_are_found(tmp_path):
  for process in range(2):
    run_of(tmp_path, 10, process=process, processes=2)
  assert len(make_chunked(tmp_path)) == 40


def test_the_newest_file_of_a_step_holds(tmp_path):
  names = []
  for number, first in enumerate((0, 50)):
    replay = streams.make(tmp_path / str(number), capacity=400)
    streams.fill(replay, first, first + 5)
    saved(replay)
    names += sorted((tmp_path / str(number)).glob('*.data'))
  both = tmp_path / 'both'
  both.mkdir()
  for number, file in enumerate(names):
    target = both / f'{number:010d}.data'
    target.write_bytes(file.read_bytes())
  replay = make_chunked(both)
  assert len(replay) == 10
  assert set((replay.sample()[0]['count'] % 1000).flat) == set(range(51, 56))


def test_a_torn_file_of_a_replay_is_named(tmp_path):
  run_of(tmp_path, 10)
  file = next(iter(tmp_path.glob('*.data')))
  file.write_bytes(file.read_bytes()[:-3])
  with pytest.raises(UserError, match=rf'{file.name} cannot be read \(torn'):
    make_chunked(tmp_path)


def test_files_of_both_kinds_are_ambiguous(tmp_path):
  run_of(tmp_path, 10)
  write(tmp_path, [5])
  with pytest.raises(UserError, match='it has both of these'):
    make_chunked(tmp_path)


class Data:
  """A data set as the package minari presents one."""

  observation_space = gymnasium.spaces.Dict(
    {'at': gymnasium.spaces.Box(-9, 9, (2,), np.float64)}
  )
  action_space = gymnasium.spaces.Box(np.array([0, -4]), np.array([1, 4.0]))

  def iterate_episodes(self):
    for number, length in enumerate((4, 6)):
      ends = np.arange(length) == length - 1
      yield SimpleNamespace(
        id=number,
        observations={'at': np.arange(2.0 * length + 2).reshape(-1, 2) / 9},
        actions=np.tile([[0.25, 4.0]], (length, 1)),
        rewards=np.arange(length) + 1.0,
        terminations=ends & (number == 0),
        truncations=ends & (number == 1),
      )


MINARI = {
  key: SPACES[key] for key in ('reward', 'is_first', 'is_last', 'is_terminal')
} | {'at': space((2,), 'float32'), 'action': space((2,), 'float32')}


@pytest.fixture
def package(monkeypatch):
  load = {'some/data-v0': Data}
  module = SimpleNamespace(load_dataset=lambda name: load[name]())
  monkeypatch.setitem(sys.modules, 'minari', module)


def test_minari_episodes_become_steps(package):
  replay = make('minari:some/data-v0', spaces=MINARI, batch_size=64)
  assert len(replay) == 12
  batch, _ = replay.sample()
  first = batch['is_first'][:, 0]
  assert first.any() and (batch['reward'][:, 0][first] == 0).all()
  assert (batch['reward'][first][:, 1:4] == [1, 2, 3]).all()
  last = batch['is_last']
  assert (batch['action'][~last] == [-0.5, 1]).all()
  assert (batch['action'][last] == 0).all()
  lengths = batch['reward'][last]
  assert set(lengths) == {4, 6}
  assert (batch['is_terminal'][last] == (lengths == 4)).all()


def test_a_missing_package_or_data_set_is_said(monkeypatch, package):
  with pytest.raises(UserError, match='minari download other'):
    make('minari:other', spaces=MINARI)
  monkeypatch.setitem(sys.modules, 'minari', None)
  with pytest.raises(UserError, match='pip install minari') as caught:
    make('minari:other', spaces=MINARI)
  assert caught.value.path == 'config.replay.dataset.path'


def test_actions_without_bounds_stay(package):
  box = gymnasium.spaces.Box(np.array([-np.inf, 2]), np.array([np.inf, 6]))
  scaled = Bounds.of(box).presented(np.array([[7.0, 5.0]]))
  np.testing.assert_allclose(scaled, [[7, 0.5]])


def test_memory_is_looked_at_first(tmp_path, monkeypatch):
  path = write(tmp_path, [30])
  monkeypatch.setattr('dreamer_nnx.replay.memory.available_bytes', lambda: 99)
  with pytest.raises(UserError, match=r'30 steps take 0\.0 GiB of memory'):
    make(path)


def test_saves_are_json(tmp_path):
  replay = make(write(tmp_path, [30]))
  json.dumps(replay.save())
  assert not replay.files(None)
  assert isinstance(replay, DatasetReplay)
  assert sources.find(str(tmp_path)).lengths == [30]


def test_a_file_that_a_run_deletes_meanwhile_is_named(tmp_path, monkeypatch):
  run_of(tmp_path / 'run', 30)
  whole = sources.replayed

  def replayed(files):
    files[-1][1].unlink()
    return whole(files)

  monkeypatch.setattr(sources, 'replayed', replayed)
  with pytest.raises(UserError, match='has been deleted meanwhile'):
    make(tmp_path / 'run', spaces=chunked_spaces())
