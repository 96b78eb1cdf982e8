"""DreamSmooth: what is paid when, and what stays as it was."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from dreamer_nnx.registry import Choice
from dreamer_nnx.run import Run
from dreamer_nnx.slots import REPLAY
from experiments.variants import dreamsmooth as dreamsmooth
from experiments.variants import toys

WORKERS, ALPHA = 3, 0.8
space = lambda dtype: SimpleNamespace(shape=(), dtype=np.dtype(dtype))
SPACES = {
  'count': space('int32'),
  'reward': space('float32'),
  'is_first': space(bool),
  'is_last': space(bool),
  'is_terminal': space(bool),
}


def made(directory='', workers=WORKERS, seed=0, **fields):
  """A replay whose batches are all that it holds, in order."""
  choice = Choice(REPLAY, 'dreamsmooth', **{'smoothing': ALPHA} | fields)
  return choice(
    spaces=SPACES,
    num_envs=workers,
    batch_size=2,
    batch_length=3,
    directory=str(directory),
    seed=seed,
    process=0,
    processes=1,
    steps=0,
    scratch='',
    context_needed=1,
    signals=('model',),
  )


def steps(count, seed=0, workers=WORKERS):
  """Steps (T, W) of episodes of random lengths, two of them broken off."""
  rng = np.random.default_rng(seed)
  shape = count, workers
  last = rng.random(shape) < 0.2
  last[-1] = True
  first = np.concatenate([np.ones((1, workers), bool), last[:-1]])
  first[count // 2, 0] = first[count // 3, 1] = True
  return {
    'count': np.arange(count * workers, dtype=np.int32).reshape(shape),
    'reward': rng.normal(size=shape).astype(np.float32) * ~first,
    'is_first': first,
    'is_last': last,
    'is_terminal': last & (rng.random(shape) < 0.5),
  }


class Recorder:
  """A replay that only remembers what it is given."""

  context, ready, notes = 1, False, ()

  def __init__(self, num_envs):
    self.added = []

  def __len__(self):
    return len(self.added)

  def add(self, steps):
    self.added.append(dict(steps))

  def save(self):
    return {'chunks': len(self.added)}

  def load(self, index):
    assert index['chunks'] >= 0

  def nothing(self, *args):
    raise NotImplementedError

  sample = update = wait = files = retain = load_share = stats = nothing


RECORDER = Choice(REPLAY, f'{__name__}:Recorder')


def kept(data, replay=None, **fields):
  """The rewards (T, W) that the inner replay is given for steps."""
  replay = made(inner=RECORDER, **fields) if replay is None else replay
  for t in range(len(data['reward'])):
    replay.add({key: x[t] for key, x in data.items()})
  added = replay.inner.added[-len(data['reward']) :]
  return np.stack([step['reward'] for step in added])


def episodes(data):
  """(worker, begin, end, whole) of each episode."""
  for worker in range(data['reward'].shape[1]):
    begins = [*np.flatnonzero(data['is_first'][:, worker]), len(data['reward'])]
    for begin, end in itertools.pairwise(begins):
      yield worker, begin, end, data['is_last'][end - 1, worker]


def test_sums_of_episodes_are_kept():
  data = steps(200)
  paid, whole = kept(data), 0
  for worker, begin, end, complete in episodes(data):
    if complete:
      sums = (x[begin:end, worker].sum() for x in (paid, data['reward']))
      np.testing.assert_allclose(*sums, atol=1e-5)
      whole += 1
  assert whole > 50
  assert np.abs(paid - data['reward']).max() > 0.5


def test_before_the_end_it_is_the_moving_average():
  data = steps(120)
  paid = kept(data)
  for worker, begin, end, complete in episodes(data):
    average = 0.0
    for t in range(begin, end - complete):
      average = ALPHA * average + (1 - ALPHA) * data['reward'][t, worker]
      np.testing.assert_allclose(paid[t, worker], average, atol=1e-5)


def test_nothing_leaks_into_the_next_episode():
  data = steps(60)
  richer = data | {'reward': data['reward'] + 100 * ~data['is_first']}
  richer['reward'] = richer['reward'].astype(np.float32)
  for worker, begin, end, _ in list(episodes(data))[:-1]:
    mixed = data['reward'].copy()
    mixed[begin:end, worker] = richer['reward'][begin:end, worker]
    changed = kept(data | {'reward': mixed}) != kept(data)
    # Also after an episode that breaks off.
    outside = np.ones_like(changed)
    outside[begin:end, worker] = False
    assert not (changed & outside).any()
    assert changed.any() or end - begin == 1


def test_all_else_and_what_was_given_stay():
  data = steps(30)
  replay = made(inner=RECORDER)
  for x in data.values():
    # Scores are counted from these arrays.
    x.flags.writeable = False
  kept(data, replay)
  for key in data.keys() - {'reward'}:
    found = np.stack([step[key] for step in replay.inner.added])
    np.testing.assert_array_equal(found, data[key])
  assert replay.inner.added[0]['reward'].dtype == np.float32
  assert len(replay) == 30 and replay.context == 1 and not replay.ready


def test_without_smoothing_rewards_are_those_of_the_environments():
  data = steps(60)
  np.testing.assert_array_equal(kept(data, smoothing=0.0), data['reward'])


def test_the_state_is_a_number_a_worker(tmp_path):
  data = steps(80)
  data['is_last'][39] = data['is_first'][40] = False
  cut = lambda part: {key: x[part] for key, x in data.items()}
  one = made(inner=RECORDER)
  kept(cut(slice(0, 40)), one)
  index = json.loads(json.dumps(one.save()))
  assert len(index.pop(dreamsmooth.OWED)) == WORKERS
  assert index == {'chunks': 40}
  two = made(inner=RECORDER)
  two.load(json.loads(json.dumps(one.save())))
  rest = cut(slice(40, 80))
  expected = kept(rest, one)
  np.testing.assert_array_equal(kept(rest, two), expected)
  # Without it they would be paid less.
  assert (kept(rest) != expected).any()


def test_batches_hold_what_was_paid_and_are_saved(tmp_path):
  fields = {'inner': Choice(REPLAY, 'chunked', capacity=300, chunk_size=5)}
  data = steps(60)
  paid = kept(data)
  one, two = made(tmp_path, **fields), made(tmp_path, seed=7, **fields)
  for t in range(40):
    one.add({key: x[t] for key, x in data.items()})
  index = one.save()
  one.wait()
  two.load(index)
  for t in range(40, 60):
    for replay in (one, two):
      replay.add({key: x[t] for key, x in data.items()})
  for _ in range(20):
    (batch, handle), (again, _) = one.sample(), two.sample()
    np.testing.assert_array_equal(again['reward'], batch['reward'])
    expected = paid.reshape(-1)[batch['count']]
    np.testing.assert_array_equal(batch['reward'], expected)
    one.update(handle, {}, {'model': np.zeros((2, 3), np.float32)})
  assert one.stats()['steps'] == 60 * WORKERS


@pytest.mark.parametrize('shares', [1, 2])
def test_other_processes_go_on_with_what_is_known(tmp_path, shares):
  fields = {'inner': Choice(REPLAY, 'chunked', capacity=300, chunk_size=5)}
  one, data = made(tmp_path, **fields), steps(20)
  data['is_last'][-1] = False
  for t in range(20):
    one.add({key: x[t] for key, x in data.items()})
  index = one.save()
  one.wait()
  two = made(tmp_path, **fields)
  two.load_share([index], 0, shares)
  expected = one.owed if shares == 1 else np.zeros(WORKERS)
  np.testing.assert_array_equal(two.owed, expected)
  assert one.owed.any()


def test_logged_scores_are_not_smoothed(tmp_path):
  # So short that nothing is trained: the batch is larger than what it holds.
  patterns = {
    'env.track.size': 8,
    '**.simple.mults': (1,),
    'encoder.simple.depth': 1,
    'decoder.simple.depth': 1,
    'loggers.names': ('jsonl',),
    'train.batch_size': 64,
    'train.batch_length': 16,
    'train.log_every': 40,
    'train.steps': 160,
  }
  found = []
  for name in ('dreamsmooth', 'chunked'):
    config = toys.tiny('dreamsmooth', patterns | {'replay.name': name})
    folder = tmp_path / name
    with Run(config, folder) as run:
      run.train(evaluate=False)
    lines = (folder / 'metrics.jsonl').read_text('utf-8').splitlines()
    logged = [json.loads(line) for line in lines]
    assert logged[-1]['replay/steps'] == 160
    found.append([of_episodes(metrics) for metrics in logged])
  assert found[0] == found[1]
  # The steps whose reward is another one than before are counted, too.
  assert sum(x.get('episode/reward_rate', 0) for x in found[0]) > 0


def of_episodes(metrics):
  return {k: x for k, x in metrics.items() if k.startswith('episode/')}
