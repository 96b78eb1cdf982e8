"""Entries of the dynamics: their formats, which steps have one, older ones."""

import re

import numpy as np
import pytest

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import archive
from dreamer_nnx.replay.chunked import ChunkedReplay
from tests.replay import older
from tests.replay.streams import (
  SPACES,
  fill,
  make,
  same,
  saved,
  space,
  step,
)
from tests.replay.test_archive import Slow


def without_entry(time, num_envs=2):
  steps = step(time, num_envs)
  del steps['latent/deter']
  return steps


def fill_without(replay, begin, end):
  for time in range(begin, end):
    replay.add(without_entry(time))
  return replay


def begins(replay, batches=200):
  """What `CONSEC` was for each time that a window began with."""
  seen = {}
  for _ in range(batches):
    batch, _ = replay.sample()
    for count, consec in zip(batch['count'][:, 0], batch[CONSEC], strict=True):
      assert seen.setdefault(count % 1000 - 1, int(consec)) == consec
  return seen


MIXED = {
  'x': space((3,), 'float32'),
  'label/goal': space((2,), 'int32'),
  'mask/action': space((4,), 'bool'),
  'acting/logp': space((), 'float32'),
  'latent/deter': space((5,), 'bfloat16'),
  'latent/stoch': space((4,), 'uint8'),
  'latent/cell': space((2, 3), 'float16'),
}


def mixed_step(rng):
  draw = lambda x: rng.integers(0, 200, (2, *x.shape)).astype(x.dtype)
  return {key: draw(x) for key, x in MIXED.items()}


@pytest.mark.parametrize('storage', ['memory', 'disk'])
def test_each_key_is_kept_sampled_and_saved_in_its_format(tmp_path, storage):
  config = {'capacity': 80, 'chunk_size': 5, 'storage': storage}
  rng = np.random.default_rng(0)
  one = ChunkedReplay(MIXED, 2, 2, 3, str(tmp_path), 0, **config)
  added = [mixed_step(rng) for _ in range(20)]
  for steps in added:
    one.add(steps)
  batch, handle = one.sample()
  assert {k: batch[k].dtype for k in MIXED} == {
    k: x.dtype for k, x in MIXED.items()
  }
  place = [
    [w, t]
    for w in range(2)
    for t in range(20)
    if (added[t]['x'][w] == batch['x'][0, 0]).all()
  ]
  worker, time = place[0]
  for key in MIXED:
    np.testing.assert_array_equal(
      batch[key][0, 1], added[time + 1][key][worker]
    )
  entries = {
    key: np.full((2, 3, *x.shape), 7).astype(x.dtype)
    for key, x in MIXED.items()
    if key.startswith('latent/')
  }
  one.update(handle, entries, {})
  two = ChunkedReplay(MIXED, 2, 2, 3, str(tmp_path), 9, **config)
  two.load(saved(one))
  for _ in range(20):
    assert same(one.sample()[0], two.sample()[0])


def test_floats_are_written_back_from_another_float_format():
  replay = ChunkedReplay(MIXED, 2, 2, 3, '', 0, capacity=80, chunk_size=5)
  rng = np.random.default_rng(0)
  for _ in range(20):
    replay.add(mixed_step(rng))
  _, handle = replay.sample()
  third = np.full((2, 3, 5), 1 / 3, np.float32)
  replay.update(handle, {'latent/deter': third}, {})
  held = replay._pool.flat['latent/deter'][handle.rows]
  np.testing.assert_array_equal(held, third.astype(held.dtype))
  with pytest.raises(TypeError, match=r'stoch.* is int32, its space is uint8'):
    replay.update(handle, {'latent/stoch': np.ones((2, 3, 4), np.int32)}, {})


def test_windows_whose_context_has_no_entry_begin_from_nothing():
  # A context of 2: begins 0 to 6 have it before step 8, and 9 from there on.
  replay = make(context_needed=2)
  fill_without(replay, 0, 8)
  fill(replay, 8, 20)
  assert begins(replay) == {t: -1 if t < 8 else 0 for t in range(16)}
  batch, _ = replay.sample()
  new = batch['count'] % 1000 > 8
  np.testing.assert_array_equal(batch['latent/deter'].any(-1), new)


def test_what_is_written_back_is_an_entry():
  replay = fill_without(make(), 0, 12)
  batch, handle = replay.sample()
  assert batch[CONSEC].tolist() == [-1, -1]
  deter = np.ones((2, 3, 2), np.float32)
  replay.update(handle, {'latent/deter': deter}, {})
  held = set(handle.rows.ravel().tolist())
  seen = set()
  for _ in range(100):
    batch, handle = replay.sample()
    seen |= set(batch[CONSEC].tolist())
    before = replay._pool.around(handle.rows[:, 0], 1, 0)[:, 0].tolist()
    assert batch[CONSEC].tolist() == [0 if x in held else -1 for x in before]
  assert seen == {0, -1}


def test_no_entry_is_needed_where_the_carry_goes_on():
  replay = fill_without(make(consec=2), 0, 20)
  for _ in range(5):
    parts = [replay.sample()[0][CONSEC].tolist() for _ in range(2)]
    assert parts == [[-1, -1], [1, 1]]
  # Without a context there is nothing to resume from.
  replay = fill_without(make(context=0), 0, 20)
  assert replay.sample()[0][CONSEC].tolist() == [0, 0]


def test_part_of_an_entry_is_refused():
  replay = ChunkedReplay(MIXED, 2, 2, 3, '', 0, capacity=80, chunk_size=5)
  rng = np.random.default_rng(0)
  for count in (0, 1):
    some = {k: x for k, x in mixed_step(rng).items() if k != 'latent/stoch'}
    with pytest.raises((ValueError, KeyError), match='latent/stoch'):
      replay.add(some)
    assert len(replay) == 2 * count
    replay.add(mixed_step(rng))
  # What is no entry is never missing.
  some = {k: x for k, x in mixed_step(rng).items() if k != 'acting/logp'}
  with pytest.raises(KeyError, match='acting/logp'):
    replay.add(some)


def test_part_of_an_entry_written_back_makes_none():
  replay = ChunkedReplay(MIXED, 2, 2, 3, '', 0, capacity=80, chunk_size=5)
  rng = np.random.default_rng(0)
  for _ in range(20):
    steps = mixed_step(rng)
    replay.add({k: x for k, x in steps.items() if not k.startswith('latent/')})
  _, handle = replay.sample()
  deter = np.ones((2, 3, 5), np.float32)
  replay.update(handle, {'latent/deter': deter}, {})
  assert not replay._pool.has_entry.any()


@pytest.mark.parametrize('storage', ['memory', 'disk'])
def test_which_steps_have_entries_is_saved_with_them(tmp_path, storage, caplog):
  one = make(tmp_path, storage=storage)
  fill_without(one, 0, 7)
  fill(one, 7, 13)
  fill_without(one, 13, 20)
  _, handle = one.sample()
  entries = {'latent/deter': np.ones((2, 3, 2), np.float32)}
  one.update(handle, entries, {})
  two = make(tmp_path, 9, storage=storage)
  two.load(saved(one))
  for _ in range(50):
    assert same(one.sample()[0], two.sample()[0])
  # A later save has what changed since.
  for replay in (one, two):
    _, handle = replay.sample()
    replay.update(handle, entries, {})
  three = make(tmp_path, 9)
  three.load(saved(two))
  assert all(same(one.sample()[0], three.sample()[0]) for _ in range(50))
  assert not caplog.text


def test_entries_are_saved_as_of_the_save(tmp_path, monkeypatch):
  monkeypatch.setattr(archive, 'BLOCK', 128)
  one = fill_without(make(tmp_path, capacity=40), 0, 20)
  slow = Slow(monkeypatch)
  index = one.save()
  _, handle = one.sample()
  entries = {'latent/deter': np.ones((2, 3, 2), np.float32)}
  one.update(handle, entries, {})
  # All is recycled, too, by steps with entries.
  fill(one, 20, 40)
  slow.open()
  one.wait()
  two = make(tmp_path, capacity=40)
  two.load(index)
  assert len(two) == 40 and not two._pool.has_entry.any()
  assert begins(two) == dict.fromkeys(range(17), -1)


def test_recycled_steps_take_their_entries_along():
  replay = fill(make(capacity=40), 0, 20)
  fill_without(replay, 20, 40)
  assert begins(replay) == dict.fromkeys(range(20, 37), -1)


def test_without_stored_entries_a_resumed_run_has_none(tmp_path, caplog):
  index = saved(fill(make(tmp_path, save_latents=False), 0, 20))
  two = make(tmp_path, save_latents=False)
  two.load(index)
  assert begins(two) == dict.fromkeys(range(17), -1)
  assert 'latents of 40 of 40 steps are not stored. Sequences' in caplog.text


def test_steps_that_need_no_entries_are_never_without(tmp_path):
  spaces = {k: x for k, x in SPACES.items() if not k.startswith('latent/')}
  config = {'capacity': 80, 'chunk_size': 5}
  one = ChunkedReplay(spaces, 2, 2, 3, str(tmp_path), 0, **config)
  fill_without(one, 0, 20)
  two = ChunkedReplay(spaces, 2, 2, 3, str(tmp_path), 0, **config)
  two.load(saved(one))
  for replay in (one, two):
    assert set(begins(replay).values()) == {0}


@pytest.mark.parametrize(
  ('given', 'field', 'context'),
  [(1, -1, 1), (4, -1, 4), (0, -1, 0), (2, 3, 3), (2, 0, 0), (2, 2, 2)],
)
def test_the_context_is_what_the_dynamics_needs(given, field, context):
  replay = fill(make(context_needed=given, context=field), 0, 30)
  assert replay.context == context
  assert replay.sample()[0]['count'].shape == (2, context + 3)


@pytest.mark.parametrize('name, workdir, step', older.DRAWS)
def test_older_replays_draw_what_they_drew(tmp_path, name, workdir, step):
  folder = older.extracted(name, tmp_path) / workdir
  one, index = older.replay_of(folder, step)
  one.load(index)
  newer = saved(one)
  expected = older.DRAWS[name, workdir, step]
  assert older.drawn(one) == expected
  # Saved anew it is the same, and nothing of then is needed.
  two, _ = older.replay_of(folder, step)
  one.retain(one.files(newer))
  saved(one)  # Only after the deletions.
  two.load(newer)
  assert older.drawn(two) == expected


def test_older_replays_are_checked(tmp_path):
  folder = older.extracted(older.OLDER, tmp_path) / 'priority'
  replay, index = older.replay_of(folder, 48)
  replay.check(index)
  # Entries that are gone are begun anew, as long as nothing is torn.
  for path in (folder / 'replay').glob('*.side'):
    path.unlink()
  replay.check(index)
  replay.load(index)
  chunk = next(x for x in index['chunks'])
  (folder / 'replay' / chunk[2]).unlink()
  for read in (replay.check, replay.load):
    with pytest.raises(UserError, match=f'1 files .*{chunk[2]}: missing'):
      read(index)


@pytest.mark.parametrize('name', [older.OLDER, older.LATER])
def test_older_entries_are_packed_and_cast(tmp_path, name, caplog):
  folder = older.extracted(name, tmp_path) / 'uniform'
  shapes = {key: x.shape for key, x in older.entry_of(folder).items()}
  packed = {
    'latent/deter': space(shapes['latent/deter'], 'bfloat16'),
    'latent/stoch': space(shapes['latent/stoch'][:1], 'uint8'),
  }
  one, index = older.replay_of(folder, 48)
  two, _ = older.replay_of(folder, 48, packed)
  one.load(index)
  two.load(index)
  for _ in range(20):
    before, now = one.sample()[0], two.sample()[0]
    one_hot = before.pop('latent/stoch')
    assert (one_hot.sum(-1) == 1).all() and one_hot[..., 0].any()
    classes = now.pop('latent/stoch')
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(np.eye(one_hot.shape[-1])[classes], one_hot)
    deter = before.pop('latent/deter')
    np.testing.assert_array_equal(
      now.pop('latent/deter'), deter.astype('bfloat16')
    )
    assert same(before, now)
  # What was packed is saved as it is.
  three, _ = older.replay_of(folder, 48, packed)
  three.load(saved(two))
  assert all(same(two.sample()[0], three.sample()[0]) for _ in range(20))
  assert not caplog.text


def one_hot_replay(directory, spaces):
  config = {'capacity': 80, 'chunk_size': 5, 'online': False}
  return ChunkedReplay(spaces, 2, 2, 3, str(directory), 0, **config)


def test_a_code_of_zeros_is_no_entry(tmp_path):
  spaces = {'x': space((), 'int32'), 'latent/s': space((2, 3), 'float32')}
  one = one_hot_replay(tmp_path, spaces)
  for time in range(20):
    code = np.eye(3)[[[time % 3, 2], [0, 1]]].astype(np.float32)
    code[0, 1] *= time % 2
    one.add({'x': np.array([time, time]), 'latent/s': code})
  two = one_hot_replay(tmp_path, spaces | {'latent/s': space((2,), 'int32')})
  two.load(saved(one))
  pool = two._pool
  slots = np.arange(8).repeat(5)
  odd = (slots % 2 == 1) | (pool.flat['x'][:40] % 2 == 1)
  np.testing.assert_array_equal(pool.has_entry[:40], odd)
  assert not pool.flat['latent/s'][:40][~odd].any()
  np.testing.assert_array_equal(
    pool.flat['latent/s'][:40][odd & (slots % 2 == 0), 1], 2
  )


ODD = {
  'shape': (
    {'latent/deter': space((3,), 'float32')},
    r"'latent/deter' is float32 \(2,\), not float32 \(3,\)",
  ),
  'kind': (
    {'latent/deter': space((2,), 'int32')},
    r"'latent/deter' is float32 \(2,\), not int32 \(2,\)",
  ),
  'missing': (
    {'latent/deter': space((2,), 'float32'), 'latent/x': space((), 'int32')},
    r"they are \['latent/deter'\], not \['latent/deter', 'latent/x'\]",
  ),
  'more': (
    {'latent/x': space((2,), 'float32')},
    r"they are \['latent/deter'\], not \['latent/x'\]",
  ),
}


@pytest.mark.parametrize(('entry', 'text'), ODD.values(), ids=ODD)
def test_entries_of_other_dynamics_count_as_absent(
  tmp_path, entry, text, caplog
):
  one = fill_without(make(tmp_path), 0, 5)
  fill(one, 5, 20)
  index = saved(one)
  spaces = {k: x for k, x in SPACES.items() if not k.startswith('latent/')}
  two = one_hot_replay(tmp_path, spaces | entry)
  two.load(index)
  (line,) = [x.getMessage() for x in caplog.records]
  assert '\n' not in line
  assert 'the latents of 30 of 40 steps do not fit: ' in line
  assert re.search(text, line)
  assert begins(two) == dict.fromkeys(range(17), -1)
  batch, handle = two.sample()
  assert not any(batch[key].any() for key in entry)
  # New ones are written and saved as always.
  entries = {
    key: np.ones((2, 3, *x.shape), x.dtype) for key, x in entry.items()
  }
  two.update(handle, entries, {})
  three = one_hot_replay(tmp_path, spaces | entry)
  three.load(saved(two))
  assert all(same(two.sample()[0], three.sample()[0]) for _ in range(20))
  assert three._pool.has_entry.any()


def test_priorities_stay_where_entries_do_not_fit(tmp_path):
  folder = older.extracted(older.LATER, tmp_path) / 'priority'
  one, index = older.replay_of(folder, 48)
  entry = {'latent/deter': space((9,), 'float32')}
  two, _ = older.replay_of(folder, 48, entry)
  one.load(index)
  two.load(index)
  for _ in range(20):
    before, now = one.sample()[0], two.sample()[0]
    for key in ('image', 'action', 'reward'):
      np.testing.assert_array_equal(before[key], now[key])
