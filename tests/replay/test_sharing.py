"""What several replays saved is shared out: everything once, nothing twice."""

import numpy as np
import pytest

from dreamer_nnx.replay import generators, sharing
from tests.replay.streams import fill, make, same, step
from tests.replay.streams import saved as stored
from tests.replay.test_archive import train


def make_all(directory, count, num_envs=2, seed=3, **config):
  """Replays of `count` processes; together they have `count` * num_envs."""
  config = {'capacity': 80 * count} | config
  return [
    make(
      directory, seed, num_envs=num_envs, process=i, processes=count, **config
    )
    for i in range(count)
  ]


def saved(directory, count, steps=23):
  """Replays of some processes with steps that can be told apart."""
  made = make_all(directory, count)
  for process, replay in enumerate(made):
    for time in range(steps):
      steps_now = step(time, 2)
      steps_now['count'] = steps_now['count'] + 5000 * process
      replay.add(steps_now)
  return made, [stored(replay) for replay in made]


def held(replay):
  """The numbers of all steps, with repeats."""
  pool = replay._pool
  parts = [
    pool.arrays['count'][slot, :length]
    for slot, length in enumerate(pool.lengths[:-1])
  ]
  return np.concatenate(parts).tolist()


@pytest.mark.parametrize('before', [1, 2, 3])
@pytest.mark.parametrize('after', [1, 2, 4])
def test_every_step_goes_to_exactly_one(tmp_path, before, after):
  made, indices = saved(tmp_path, before)
  expected = sorted(x for replay in made for x in held(replay))
  shares = make_all(tmp_path, after, num_envs=1, capacity=200 * after)
  for share, replay in enumerate(shares):
    replay.load_share(indices, share, after)
  assert sorted(x for replay in shares for x in held(replay)) == expected
  sizes = [len(held(replay)) for replay in shares]
  # Chunks of 5 steps are not cut, and the last ones are not full.
  assert max(sizes) - min(sizes) <= 10
  ids = [x for r in shares for x in r._pool.ids[r._pool.ids >= 0].tolist()]
  assert len(ids) == len(set(ids))


def test_streams_are_cut_as_little_as_can_be(tmp_path):
  _, indices = saved(tmp_path, 1, steps=20)
  shares = make_all(tmp_path, 2, num_envs=1, capacity=200)
  for share, replay in enumerate(shares):
    replay.load_share(indices, share, 2)
  # Two streams of 20 steps, one for each: windows of 4 start at 17 steps.
  assert [replay.sequences for replay in shares] == [17, 17]


def test_the_same_number_of_processes_goes_on_bit_for_bit(tmp_path):
  made = make_all(tmp_path, 2)
  for replay in made:
    train(replay, 0, 23)
  indices = [stored(replay) for replay in made]
  again = make_all(tmp_path, 2, seed=9)
  for share, replay in enumerate(again):
    replay.load_share(indices, share, 2)
  for one, other in zip(made, again, strict=True):
    assert all(map(same, train(one, 23, 60), train(other, 23, 60)))


def test_files_of_others_stay_until_no_index_needs_them(tmp_path):
  _, indices = saved(tmp_path, 2)
  (one,) = make_all(tmp_path, 1, num_envs=2, capacity=320)
  one.load_share(indices, 0, 1)
  newer = [stored(one), stored(one)]
  # Whoever goes back to the older checkpoint finds all of it.
  for share, replay in enumerate(make_all(tmp_path, 2)):
    replay.load_share(indices, share, 2)
    assert not replay.stats()['skipped_files']
  # Recycled chunks are deleted wherever they are.
  (two,) = make_all(tmp_path, 1, num_envs=2, capacity=320)
  two.load_share(newer[-1:], 0, 1)
  other = tmp_path / 'process_1'
  assert list(other.glob('*.data'))
  fill(two, 100, 300)
  for _ in range(2):
    index = stored(two)
    two.retain(two.files(index))
  stored(two)
  assert not list(other.glob('*.data'))
  assert two.files(None) == two.files(index)


def test_a_process_leaves_alone_what_another_one_took(tmp_path):
  _, indices = saved(tmp_path, 1)
  shares = make_all(tmp_path, 2, num_envs=1, capacity=200)
  for share, replay in enumerate(shares):
    replay.load_share(indices, share, 2)
  for _ in range(2):
    indices = [stored(replay) for replay in shares]
    for replay in shares:
      replay.retain(set().union(*map(replay.files, indices)))
  again = make_all(tmp_path, 2, num_envs=1, capacity=200)
  for share, replay in enumerate(again):
    replay.load_share(indices, share, 2)
    assert held(replay) == held(shares[share])


def test_numbers_of_chunks_never_meet(tmp_path):
  _, indices = saved(tmp_path, 2)
  shares = make_all(tmp_path, 3, num_envs=1, capacity=600)
  for share, replay in enumerate(shares):
    replay.load_share(indices, share, 3)
    fill(replay, 0, 20, num_envs=1)
  ids = [x for r in shares for x in r._pool.ids[r._pool.ids >= 0].tolist()]
  assert len(ids) == len(set(ids))
  assert {ident // sharing.RANGE for ident in ids} == {0, 1, 2}


def test_a_share_draws_from_a_stream_of_its_own(tmp_path):
  _, indices = saved(tmp_path, 1, steps=60)
  draws = []
  for seed in (3, 4, 3):
    (replay,) = make_all(tmp_path, 1, num_envs=1, seed=seed, capacity=200)
    replay.load_share(indices * 2, 0, 1)
    draws.append(replay.sample()[0]['count'].tolist())
  assert draws[0] == draws[2] != draws[1]


def test_owners_of_files():
  assert sharing.writer('a.data') == 0
  assert sharing.writer(f'{sharing.prefix(12)}a.data') == 12


def test_another_seed_changes_the_draws_of_this_kind_of_replay_alone(tmp_path):
  _, (index,) = saved(tmp_path, 1)
  other = generators.reseeded(index, 9)
  assert other.keys() == index.keys()
  assert [key for key in index if index[key] != other[key]] == ['rng']
  for foreign in ({}, {'rng': [1, 2]}, {'chunks': []}):
    assert generators.reseeded(foreign, 9) == foreign
