"""Workdirs that version 0.1 wrote are read and gone on with."""

import json
import pathlib
import tarfile
import zlib

import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import notices, workflow
from dreamer_nnx.run import saved_config
from dreamer_nnx.training import checkpoint
from dreamer_nnx.training.actor import named
from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import CACHE, launch

FIXTURES = pathlib.Path(__file__).parent / 'fixtures'
# What version 0.1 drew from them: steps held, and the CRC-32 of 20 batches.
DRAWS = {
  ('uniform', 32): (32, 3478342092),
  ('uniform', 48): (48, 2741839370),
  ('priority', 48): (48, 4140353089),
}


# Likewise for those of the later file format.
LATER = {
  ('uniform', 32): (32, 1225756222),
  ('uniform', 48): (48, 2222542833),
  ('priority', 32): (32, 2412142558),
  ('priority', 48): (48, 4137769948),
}


def extracted(name, folder):
  with tarfile.open(FIXTURES / name) as archive:
    archive.extractall(folder, filter='data')
  return folder


@pytest.fixture
def workdirs(tmp_path):
  return extracted('workdirs_0_1.tar.xz', tmp_path)


@pytest.fixture
def later(tmp_path):
  return extracted('workdirs_0_1_later.tar.xz', tmp_path)


def meta_of(workdir, step):
  item = workdir / 'checkpoints' / str(step) / 'meta' / 'metadata'
  return json.loads(item.read_text())


def replay_of(workdir, config):
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  return workflow.make_replay(
    config, envs.obs_space, envs.action_space, learner, workdir
  )


def of_then(batch, classes):
  """A batch with its classes as the one-hot vectors that were stored then."""
  stoch = np.eye(classes, dtype=np.float32)[batch['latent/stoch']]
  return batch | {'latent/stoch': stoch}


def drawn(replay, config):
  crc = 0
  classes = config.dynamics.rssm.stochastic.categorical.classes
  for _ in range(20):
    batch, _ = replay.sample()
    batch = of_then(batch, classes)
    # In the order of the names of then.
    for key in sorted(batch, key=lambda key: key.removeprefix('replay/')):
      crc = zlib.crc32(np.ascontiguousarray(batch[key]).tobytes(), crc)
  return len(replay), crc


@pytest.mark.parametrize('name, step', DRAWS)
def test_a_replay_of_then_draws_what_it_drew(workdirs, name, step):
  config = saved_config(workdirs / 'uniform')
  if name == 'priority':
    configs.apply(config, {'replay.chunked.priority': 1.0})
  config = configs.resolve(config)
  index = meta_of(workdirs / name, step)['processes'][0]['replay']
  replay = replay_of(workdirs / name, config)
  replay.load(index)
  # Saved anew it is the same, and nothing of then is needed.
  newer = json.loads(json.dumps(replay.save()))
  replay.wait()
  replay.retain(replay.files(newer))
  assert drawn(replay, config) == DRAWS[name, step]
  again = replay_of(workdirs / name, config)
  again.load(newer)
  again.save()
  again.wait()
  assert again.files(None) == again.files(newer)
  assert drawn(again, config) == DRAWS[name, step]


@pytest.mark.parametrize('name, step', LATER)
def test_a_replay_of_the_later_format_draws_what_it_drew(later, name, step):
  config = configs.resolve(saved_config(later / name))
  replay = replay_of(later / name, config)
  replay.load(meta_of(later / name, step)['processes'][0]['replay'])
  assert drawn(replay, config) == LATER[name, step]


@pytest.mark.parametrize('name', ['uniform', 'priority'])
def test_a_run_of_the_later_format_goes_on(later, name):
  workdir = later / name
  flags = [f'--workdir={workdir}', f'--compilation_cache={CACHE}']
  more = ['--mode=train', '--config.train.steps=64']
  result = launch([*flags, *more])
  assert result.status == 0, result.out + result.err
  assert load_meta(workdir)['counters']['updates'] == 129 + 64


@pytest.mark.parametrize('step', [32, 48])
def test_a_run_of_then_goes_on(workdirs, step):
  workdir = workdirs / 'uniform'
  flags = [f'--workdir={workdir}', f'--compilation_cache={CACHE}']
  more = ['--mode=train', '--config.train.steps=64', f'--restore_step={step}']
  result = launch([*flags, *more])
  assert result.status == 0, result.out + result.err
  meta = load_meta(workdir)
  assert meta['counters']['env_steps'] == 64
  index = meta['processes'][0]['replay']
  assert sum(length for _, _, length, _ in index['chunks']) == 64


def test_parts_of_then_are_found_by_the_names_of_today(workdirs):
  config = configs.resolve(saved_config(workdirs / 'uniform'))
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  wanted = {name for name in learner.abstract if 'norm_act' in name}
  folder = workdirs / 'uniform'
  part = checkpoint.partial(folder, learner.abstract, 'norm_act')
  assert wanted and set(part.loaded) == part.state.keys() == wanted
  whole = checkpoint.restore(folder, learner.abstract).state
  for name, x in part.state.items():
    np.testing.assert_array_equal(x, whole[name])
    # The scale of a norm, or a moment of its gradient, and not what it was.
    assert np.abs(x - (0 if name.startswith('optimizer/') else 1)).max() > 0


@pytest.mark.parametrize(
  ('archive', 'name'),
  [('workdirs_0_1', 'uniform'), ('workdirs_0_1_later', 'priority')],
)
def test_all_that_was_running_then_fits_what_runs_today(
  archive, name, tmp_path
):
  # What does not fit would begin anew, in silence.
  folder = extracted(f'{archive}.tar.xz', tmp_path) / name
  config = configs.resolve(saved_config(folder))
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  restored = checkpoint.restore(folder, learner.abstract)
  rows = learner.initial_rows(config.train.batch_size)
  shapes = {k: x.shape for k, x in named({'train': rows}).items()}
  carry = {'carry': learner.abstract_carry(config.train.envs)}
  # An axis of processes in front.
  shapes |= {k: (1, *x.shape) for k, x in named(carry).items()}
  found = {k: x.shape for k, x in restored.loop.items()}
  assert {k: x for k, x in found.items() if k[:4] != 'obs|'} == shapes
  assert 'carry|dynamics|deter' in shapes and 'train|dynamics|stoch' in shapes
  assert any(np.any(restored.loop[k]) for k in shapes if 'dynamics' in k)


def test_what_depends_on_a_name_of_then_says_so_once(later, caplog):
  notices.WARNED.clear()
  for _ in range(2):
    saved_config(later / 'uniform')
  texts = [r.message for r in caplog.records if 'older version' in r.message]
  assert len(texts) == 1
  policy = 'policy is now behavior.actor_critic.policy.mlp'
  assert texts[0].startswith('the saved config has names of an older version')
  assert policy in texts[0]


@pytest.mark.parametrize('include', ['^policy/', '^behavior/policy/'])
def test_parts_of_then_are_chosen_by_either_name(workdirs, include):
  folder = workdirs / 'uniform'
  config = configs.resolve(saved_config(folder))
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  part = checkpoint.partial(folder, learner.abstract, include)
  names = [n for n in learner.abstract if n.startswith('behavior/policy/')]
  assert sorted(part.loaded) == sorted(names) and names
