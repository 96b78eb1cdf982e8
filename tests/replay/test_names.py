"""Names of observations and actions are free; files are not named by them."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces as gym_spaces

from dreamer_nnx import spaces
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.replay.chunked import ChunkedReplay
from tests.launcher import arguments, launch
from tests.replay.streams import by_share, same, saved, space

# Each beside one that it could be taken for; some are words of the replay.
NAMES = [
  *('consec', 'priority', 'runs', 'kind', 'rows', 'length', 'data', 'side'),
  *('a/b', 'a_b', 'a|b', 'a b', 'a', 'A', 'a.', 'latent', 'replay', 'log'),
  *('.', '..', '../a', '/a', '~', 'x\0y', 'x', '\u00fc', 'u\u0308', '\ud800'),
  *('', 'long' * 500, '0000000000.data', 'con', 'nul', '%2F', '*', '{}'),
]
FLAGS = {'is_first': space((), 'bool'), 'is_last': space((), 'bool')}
SPACES = {name: space((2,), 'int32') for name in NAMES} | FLAGS
SPACES |= {'latent/deter': space((2,), 'float32')}


def step(time):
  """Every name has numbers of its own."""
  return {
    key: (
      np.full((2, *x.shape), time == 0)
      if key in FLAGS
      else np.arange(4).reshape(2, 2) + 10 * time + 1000 * index
    ).astype(x.dtype)
    for index, (key, x) in enumerate(SPACES.items())
  }


def make(directory, seed, **config):
  config = {'capacity': 120, 'chunk_size': 5, 'online': False} | config
  config['signals'] = ('model',)
  return ChunkedReplay(SPACES, 2, 2, 3, str(directory), seed, **config)


@pytest.mark.parametrize('storage', ['memory', 'disk'])
@pytest.mark.parametrize('priority', [0.0, 1.0])
def test_any_names_are_kept_apart_sampled_and_saved(
  tmp_path, storage, priority
):
  selectors = by_share(uniform=1.0, priority=priority)
  config = {'storage': storage, 'selectors': selectors}
  one = make(tmp_path, 0, **config)
  for time in range(20):
    one.add(step(time))
  batch, handle = one.sample()
  assert batch.keys() == SPACES.keys() | {CONSEC}
  for index, name in enumerate(NAMES):
    np.testing.assert_array_equal(
      batch[name] - 1000 * index, batch[NAMES[0]], err_msg=name
    )
  ones = np.ones((2, 3), np.float32)
  entries = {'latent/deter': np.stack([ones, ones], -1)}
  one.update(handle, entries, {'model': 7 * ones})
  index = saved(one)
  assert len(index['files']) == 2
  assert {x.name for x in tmp_path.iterdir() if x.is_file()} == {
    *index['files']
  }
  two = make(tmp_path, 9, **config)
  two.load(index)
  assert not two.stats()['skipped_files']
  assert all(same(one.sample()[0], two.sample()[0]) for _ in range(30))


@pytest.mark.parametrize('key', [CONSEC, 'replay/other', 'latent/deter'])
def test_names_of_the_replay_are_refused_at_the_start(key):
  with pytest.raises(ValueError, match=f"observation key '{key}' is reserved"):
    spaces.check_keys([key], ['action'], 'config.env')
  with pytest.raises(ValueError, match=f"action key '{key}' is reserved"):
    spaces.check_keys(['x'], [key], 'config.env')


class Named(gymnasium.Env):
  """Observations and an action with names that the replay uses, too."""

  observation_space = gym_spaces.Dict(
    {
      'consec': gym_spaces.Discrete(4),
      'priority': gym_spaces.Box(-1, 1, (2,)),
    }
  )
  action_space = gym_spaces.Dict({'side': gym_spaces.Discrete(3)})

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.time = 0
    return self.observation_space.sample(), {}

  def step(self, action):
    self.time += 1
    return self.observation_space.sample(), 1.0, self.time == 6, False, {}


@pytest.mark.slow
def test_a_run_with_such_names_trains_and_resumes(tmp_path):
  for steps in (40, 60):
    flags = arguments(
      tmp_path,
      env__name='custom',
      env__custom__make=f'{__name__}:Named',
      train__steps=steps,
    )
    result = launch([x for x in flags if 'env.track' not in x])
    assert result.status == 0, result.err
    assert 'Return trained, greedy: 6.00' in result.out
