import re

import numpy as np
import pytest

from dreamer_nnx import contracts
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.replay.chunked import ChunkedReplay
from dreamer_nnx.slots import REPLAY
from tests.replay.streams import (
  SPACES,
  by_share,
  fill,
  firsts,
  make,
  space,
  step,
)

INF = float('inf')


def test_a_window_is_what_was_added():
  replay = fill(make(), 0, 23)
  seen = set()
  for _ in range(100):
    batch, _ = replay.sample()
    assert batch['image'].shape == (2, 4, 2, 3, 1)
    for row in range(2):
      worker, time = divmod(int(batch['count'][row, 0]) - 1, 1000)
      seen.add((worker, time))
      for offset in range(4):
        added = step(time + offset, 2)
        for key in ('count', 'image', 'latent/deter'):
          assert batch[key].dtype == SPACES[key].dtype
          np.testing.assert_array_equal(
            batch[key][row, offset], added[key][worker]
          )
  # Windows over chunk boundaries included: all 2 x 20 starts come up.
  assert seen == {(w, t) for w in range(2) for t in range(20)}


def test_steps_and_sequences_are_counted():
  replay = fill(make(), 0, 3)
  assert (len(replay), replay.sequences, replay.ready) == (6, 0, False)
  fill(replay, 3, 5)
  assert (len(replay), replay.sequences, replay.ready) == (10, 4, False)
  fill(replay, 5, 6)
  assert (len(replay), replay.sequences, replay.ready) == (12, 6, True)


def test_windows_may_span_many_chunks():
  replay = fill(make(chunk_size=2, consec=3), 0, 30)
  for _ in range(30):
    batch, _ = replay.sample()
    steps = batch['count'] - batch['count'][:, :1]
    np.testing.assert_array_equal(steps, [[0, 1, 2, 3]] * 2)
  assert replay.sequences == 2 * (30 - 10 + 1)


def test_the_oldest_chunks_are_recycled():
  # 80 steps are 8 groups of 2 chunks; the ninth group recycles the first.
  replay = fill(make(), 0, 40)
  assert len(replay) == 80 and replay.sequences == 2 * 37
  fill(replay, 40, 41)
  assert len(replay) == 72 and replay.sequences == 2 * (36 - 3)
  fill(replay, 41, 73)
  # Of 73 steps a worker, groups from time 35 on are held.
  drawn = firsts(replay, 400) % 1000 - 1
  assert set(drawn) == set(range(35, 70))


def test_uniform_draws_every_start_alike():
  replay = fill(make(), 0, 43)
  drawn = firsts(replay, 4000)
  _, counts = np.unique(drawn, return_counts=True)
  # 43 steps with the first 5 recycled: 35 starts for each of two workers.
  assert len(counts) == 70
  expect = len(drawn) / 70
  # Chi-square of 69 degrees of freedom is under 115 with p = 0.9996.
  assert ((counts - expect) ** 2 / expect).sum() < 115


def test_latents_are_written_behind_the_context():
  replay = fill(make(), 0, 12)
  batch, handle = replay.sample()
  deter = 0.5 + np.arange(12, dtype=np.float32).reshape(2, 3, 2)
  replay.update(handle, {'latent/deter': deter}, {})
  row = batch['count'][:, 1:]
  held = dict(zip(row[1].tolist(), deter[1].tolist(), strict=True))
  for _ in range(50):
    batch, _ = replay.sample()
    counts = batch['count'].reshape(-1).tolist()
    latents = batch['latent/deter'].reshape(-1, 2).tolist()
    for count, latent in zip(counts, latents, strict=True):
      if count in held:
        assert latent == held[count]
      elif count not in row:
        assert latent == [count, -count]


def test_write_back_leaves_recycled_steps_alone():
  replay = fill(make(), 0, 8)
  batch, handle = replay.sample()
  oldest = batch['count'][:, 1:] % 1000 <= 5
  fill(replay, 8, 41)
  deter = np.full((2, 3, 2), 0.25, np.float32)
  replay.update(handle, {'latent/deter': deter}, {})
  stats = replay.stats()
  assert stats['lost'] == oldest.sum() > 0
  assert stats['written_back'] == 6 - oldest.sum()
  changed = set()
  for _ in range(300):
    batch, _ = replay.sample()
    changed |= set(batch['count'][batch['latent/deter'][..., 0] == 0.25])
  # Group 8 took the slots of group 0; none of its steps has changed.
  assert all(6 <= count % 1000 <= 8 for count in changed)


def test_online_sequences_come_first_and_once():
  replay = make(online=True)
  fill(replay, 0, 12)
  # Windows of 4 steps: times 0, 4 and 8 of both workers, oldest first.
  assert firsts(replay, 3).tolist() == [1, 1001, 5, 1005, 9, 1009]
  assert replay.stats()['online_queue'] == 0
  rest = firsts(replay, 300)
  assert set(rest % 1000) == set(range(1, 10))
  fill(replay, 12, 16)
  assert firsts(replay, 1).tolist() == [13, 1013]


def test_online_sequences_recycled_unseen_drop_out():
  replay = fill(make(online=True), 0, 41)
  # The queued starts 0 and 4 went with the first group of chunks.
  assert firsts(replay, 1).tolist() == [9, 1009]


def test_abandoned_episodes_end():
  replay = make(num_envs=1, selectors=by_share(recency=1.0))
  for time in range(12):
    steps = step(time, 1)
    steps['is_first'][:] = time in (0, 7)
    replay.add(steps)
  for _ in range(30):
    batch, _ = replay.sample()
    time = batch['count'] - 1
    last = (time == 6) & (np.arange(4) < 3)
    np.testing.assert_array_equal(batch['is_last'], last)
    np.testing.assert_array_equal(batch['is_first'], (time == 7) | (time == 0))


def test_without_context_the_window_begins_an_episode():
  replay = fill(make(context=0, consec=2), 1, 12)
  batch, handle = replay.sample()
  assert batch['count'].shape == handle.rows.shape == (2, 3)
  assert batch['is_first'].tolist() == [[True, False, False]] * 2
  assert not batch['is_last'].any()
  batch, _ = replay.sample()
  assert not batch['is_first'].any()


def test_a_long_sample_is_handed_out_in_parts():
  replay = fill(make(consec=3), 0, 30)
  for _ in range(5):
    parts = [replay.sample()[0] for _ in range(3)]
    for part, batch in enumerate(parts):
      assert batch[CONSEC].tolist() == [part] * 2
      assert batch[CONSEC].dtype == np.int32
      np.testing.assert_array_equal(
        batch['count'],
        parts[0]['count'][:, :1] + 3 * part + np.arange(4),
      )


def test_is_last_sees_over_the_end_of_a_part():
  replay = make(num_envs=1, consec=2, capacity=60)
  for time in range(8):
    steps = step(time, 1)
    steps['is_first'][:] = time == 4
    replay.add(steps)
  for _ in range(10):
    (batch, _), _ = replay.sample(), replay.sample()
    np.testing.assert_array_equal(batch['is_last'], batch['count'] == 4)


def test_a_long_sample_with_a_recycled_step_is_given_up():
  replay = fill(make(consec=3, capacity=60), 0, 11)
  replay.sample()
  fill(replay, 11, 60)
  batch, _ = replay.sample()
  assert batch[CONSEC].tolist() == [0, 0]
  assert (batch['count'] % 1000 > 30).all()


def test_same_seed_same_samples():
  selectors = by_share(uniform=1.0, priority=1.0, recency=1.0)
  config = {'selectors': selectors, 'online': True}
  one, two = make(**config), make(**config)
  other = make(seed=4, **config)
  for replay in (one, two, other):
    fill(replay, 0, 30)
  first = firsts(one, 40)
  np.testing.assert_array_equal(first, firsts(two, 40))
  assert (first != firsts(other, 40)).any()


def test_stats_count_since_the_last_call():
  replay = fill(make(), 0, 20)
  _, handle = replay.sample()
  replay.update(handle, {}, {})
  stats = replay.stats()
  assert all(type(value) is float for value in stats.values())
  assert stats['inserts'] == stats['steps'] == 40
  assert stats['samples'] == 2 and stats['written_back'] == 6
  assert stats['train_ratio'] == 2 * 3 / 40
  assert stats['chunks'] == 8 and stats['sequences'] == 34
  assert replay.stats()['inserts'] == 0


def test_it_is_the_chunked_replay_of_the_slot():
  assert isinstance(make(), contracts.Replay)
  assert REPLAY.builder('chunked') is ChunkedReplay


def test_log_keys_are_not_kept():
  replay = make()
  replay.add({**step(0, 2), 'log/speed': np.ones(2)})
  assert len(replay) == 2


@pytest.mark.parametrize(
  ('change', 'kind', 'text'),
  [
    ({'extra': np.ones(2)}, ValueError, r"unknown \['extra'\]"),
    ({'count': None}, ValueError, r"missing \['count'\]"),
    ({'count': np.ones(3, int)}, ValueError, r"'count' is \(3,\), not \(2,\)"),
    ({'count': np.ones(2)}, TypeError, "'count' is float64, its space is int"),
  ],
)
def test_steps_must_fit_the_spaces(change, kind, text):
  steps = {k: v for k, v in (step(0, 2) | change).items() if v is not None}
  with pytest.raises(kind, match=text):
    make().add(steps)


GIVEN = dict(
  spaces=SPACES,
  num_envs=2,
  batch_size=2,
  batch_length=3,
  directory='',
  seed=0,
  process=0,
  processes=1,
  steps=0,
  scratch='',
  context_needed=1,
  signals=(),
)


@pytest.mark.parametrize(
  ('config', 'text'),
  [
    (
      {'selectors': by_share(uniform=0.0)},
      ".selectors.names = ('uniform',): nothing draws sequences. Name one",
    ),
    (
      {'selectors': by_share(recency=-0.5)},
      '.selectors.recency.share = -0.5: must be at least 0.',
    ),
    (
      {'selectors': by_share(priority={'max_fraction': 1.5})},
      '.selectors.priority.max_fraction = 1.5: must be at least 0 and at most',
    ),
    (
      {'selectors': by_share(priority={'initial': -1.0})},
      '.selectors.priority.initial = -1.0: must be at least 0.',
    ),
    (
      {'selectors': by_share(uniform=INF)},
      '.selectors.uniform.share = inf: must be a finite number.',
    ),
    (
      {'selectors': by_share(uniform=1.0, priority=1.0)},
      ".selectors.priority: it needs the signal 'model', which nothing gives. "
      'Signals of the losses and of this behavior: none.',
    ),
    ({'chunk_size': 0}, '.chunk_size = 0: must be at least 1.'),
    ({'capacity': 0}, '.capacity = 0: must be at least 1.'),
    ({'context': -2}, '.context = -2: must be at least -1.'),
    (
      {'context': 1, 'context_needed': 2},
      '.context = 1: the dynamics needs 2 steps to resume from. Set -1 for',
    ),
    ({'consec': 0}, '.consec = 0: must be at least 1.'),
    ({'save_waiting': -1.0}, '.save_waiting = -1.0: must be at least 0.'),
    (
      {'storage': 'tape'},
      ".storage = 'tape': must be one of 'auto', 'memory', 'disk'.",
    ),
    (
      {'capacity': 29, 'chunk_size': 5},
      '.capacity = 29: 2 workers with chunks of 5 steps, and 6 sequences of 4 '
      'steps to train on, need at least 30. Raise it or lower chunk_size.',
    ),
    (
      {'capacity': 59, 'chunk_size': 5, 'processes': 2},
      '.capacity = 59: 2 workers in each of 2 processes with chunks of 5 steps',
    ),
  ],
)
def test_settings_that_cannot_work_are_refused(config, text):
  given = {**GIVEN, **{k: v for k, v in config.items() if k in REPLAY.given}}
  fields = {k: v for k, v in config.items() if k not in REPLAY.given}
  choice = Choice(REPLAY, 'chunked', **fields).at('config.replay')
  with pytest.raises(UserError) as info:
    choice(**given)
  assert str(info.value).startswith(f'config.replay.chunked{text}')


def test_the_least_capacity_stays_ready():
  replay = fill(make(capacity=30), 0, 6)
  for time in range(6, 40):
    fill(replay, time, time + 1)
    assert replay.ready
    replay.sample()


def test_too_much_memory_is_refused_with_what_would_fit():
  spaces = {'image': space((64, 64, 3), 'uint8')}
  text = (
    r'capacity: \d+ steps need [\d.]+ GiB of memory, '
    r'([\d.]+) GiB are free. The largest that fits is (\d+); storage=disk .*'
  )
  with pytest.raises(ValueError) as info:
    config = {'capacity': 10**13, 'storage': 'memory'}
    ChunkedReplay(spaces, 2, 2, 3, '', 0, **config)
  free, fits = re.fullmatch(text, str(info.value)).groups()
  assert int(fits) % 2048 == 0
  # Free is printed in tenths of a GiB; 2048 steps are 0.02 GiB.
  assert abs(int(fits) * 64 * 64 * 3 / 2**30 - float(free)) < 0.1


def test_sampling_nothing_and_wrong_write_backs_are_refused():
  replay = fill(make(), 0, 3)
  with pytest.raises(ValueError, match='6 steps are held and no worker'):
    replay.sample()
  fill(replay, 3, 9)
  _, handle = replay.sample()
  for name in ('latent/stoch', 'deter', 'image'):
    with pytest.raises(ValueError, match=f"'{name}' cannot be written back"):
      replay.update(handle, {name: np.ones((2, 3, 2))}, {})
  with pytest.raises(ValueError, match=r"latent/deter' is \(2, 4, 2\), not"):
    replay.update(handle, {'latent/deter': np.ones((2, 4, 2))}, {})
  with pytest.raises(TypeError, match='is complex128, its space is float32'):
    replay.update(handle, {'latent/deter': np.ones((2, 3, 2), complex)}, {})
