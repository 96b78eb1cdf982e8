"""Policies that are loaded from checkpoints alone."""

import json
import shutil
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import dreamer_nnx
from dreamer_nnx import streams, workflow
from dreamer_nnx.encoders.simple import SimpleEncoder
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import checkpoint
from dreamer_nnx.trust import UntrustedError
from tests import stored
from tests.test_older import extracted

ALONE = """
import sys
import dreamer_nnx
assert not {'jax', 'numpy', 'gymnasium'} & set(sys.modules)
policy = dreamer_nnx.load_policy(sys.argv[1])
action, state = policy([1.0, 0.0, 0.0])
assert action.shape == (1,) and -2 <= action[0] <= 2, action
names = [x for x in sys.modules if x.startswith(
  ('gymnasium', 'dreamer_nnx.envs', 'dreamer_nnx.replay', 'dreamer_nnx.run'))]
assert not names, names
"""
OBS = np.array([0.3, -0.9, 2.0])


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return stored.write(tmp_path_factory.mktemp('policy') / 'run')


@pytest.fixture(scope='module')
def policy(workdir):
  return dreamer_nnx.load_policy(workdir)


def test_nothing_but_the_agent_is_imported(workdir):
  done = subprocess.run(
    [sys.executable, '-c', ALONE, str(workdir)], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


def test_it_acts_as_the_agent_does_in_the_environments_units(workdir, policy):
  config = stored.config_of()
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  envs.close()
  saved = checkpoint.restore(workdir, learner.abstract)
  acting, carry = learner.acting(saved.state), learner.initial(1)
  state, key = None, streams.key(0, Stream.POLICY)
  for count in range(3):
    obs = np.float32(OBS + count)
    inputs = {'vector': obs[None], 'is_first': np.array([count == 0])}
    carry, action, _ = learner.policy(acting, carry, inputs, key, count, 'mode')
    found, state = policy(obs, state)
    # Pendulum is pushed by -2 to 2.
    want = np.clip(np.asarray(action['action'])[0], -1, 1) * 2
    np.testing.assert_allclose(found, want, rtol=1e-5)
  assert state.count == 3


def test_rows_are_episodes_of_their_own(policy):
  rows = np.stack([OBS, -OBS])
  actions, state = policy(rows)
  assert actions.shape == (2, 1)
  on, after = policy(rows, state)
  mixed, other = policy(rows, state, is_first=[True, False])
  assert mixed.shape == (2, 1) and other.lead == (2,)
  deter = [x.carry['dynamics']['deter'] for x in (state, after, other)]
  # The second row goes on, the first is where a new episode is.
  np.testing.assert_array_equal(deter[2][1], deter[1][1])
  np.testing.assert_array_equal(deter[2][0], deter[0][0])
  assert (deter[1][0] != deter[0][0]).any() and on[1] == mixed[1]


def test_draws_differ_and_greedy_actions_are_of_the_seed(workdir, policy):
  drawn = [policy(OBS, mode='sample')[0] for _ in range(2)]
  np.testing.assert_array_equal(*drawn)
  other = dreamer_nnx.load_policy(workdir, seed=1)
  assert (other(OBS, mode='sample')[0] != drawn[0]).any()
  state, actions = None, []
  for _ in range(3):
    action, state = policy(OBS, state, mode='sample')
    actions.append(float(action[0]))
  assert len(set(actions)) == 3


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'mode': 'sampled'}, "mode = 'sampled'.*Did you mean 'sample'"),
    ({'obs': np.zeros(4)}, 'has the shape'),
    ({'obs': np.zeros((2, 2, 3))}, 'a step has none, or one of episodes'),
    ({'obs': [np.nan, 0, 0]}, 'not finite'),
    ({'obs': {'image': OBS}}, "no 'vector', got image"),
  ],
)
def test_mistakes_are_said(policy, arguments, message):
  with pytest.raises(UserError, match=message):
    policy(**{'obs': OBS, **arguments})


def test_a_state_of_other_rows_is_refused(policy):
  _, state = policy(OBS)
  with pytest.raises(UserError, match='Begin new episodes by state=None'):
    policy(np.stack([OBS, OBS]), state)


def test_what_holds_no_checkpoint_is_said(tmp_path, workdir):
  with pytest.raises(UserError, match='does not exist'):
    dreamer_nnx.load_policy(tmp_path / 'none')
  with pytest.raises(UserError, match='no checkpoint step 99'):
    dreamer_nnx.load_policy(workdir, step=99)


def test_a_step_may_be_named_by_its_folder(workdir, policy):
  step = checkpoint.latest(workdir)
  found = dreamer_nnx.load_policy(workdir / 'checkpoints' / str(step))
  np.testing.assert_array_equal(found(OBS)[0], policy(OBS)[0])


def changed(workdir, folder, change):
  """A copy of a workdir whose meta was changed; without the list of files."""
  shutil.copytree(workdir, folder)
  (root,) = (folder / 'checkpoints').glob('[0-9]*')
  (root / 'files.json').unlink()
  path = root / 'meta' / 'metadata'
  meta = json.loads(path.read_text())
  change(meta)
  path.write_text(json.dumps(meta))
  return folder


def test_code_of_a_stranger_is_refused(workdir, tmp_path):
  def change(meta):
    meta['config']['encoder'] = {'name': 'strange:Encoder', 'Encoder': {}}

  folder = changed(workdir, tmp_path / 'run', change)
  with pytest.raises(UntrustedError, match='strange:Encoder'):
    dreamer_nnx.load_policy(folder)
  with pytest.raises(UserError, match='strange'):
    dreamer_nnx.load_policy(folder, trust_config=True)


class StrangeEncoder(SimpleEncoder):
  """An encoder of other people, which asks for gymnasium's types."""

  sizes = None

  def __init__(self, obs_space, *, units: int = 8, precision, rngs):
    assert all(isinstance(x, gymnasium.Space) for x in obs_space.values())
    given = dict(precision=precision, rngs=rngs)
    super().__init__(obs_space, units=units, layers=1, **given)


def test_a_component_of_others_acts_once_it_is_trusted(tmp_path):
  name = f'{__name__}:StrangeEncoder'
  folder = stored.write(
    tmp_path / 'run',
    **{'encoder.name': name, 'precision.compute': 'bfloat16'},
  )
  with pytest.raises(UntrustedError, match='StrangeEncoder'):
    dreamer_nnx.load_policy(folder)
  policy = dreamer_nnx.load_policy(folder, True)
  action, state = policy(OBS)
  assert policy.action_space.contains(np.float32(action))
  assert state.carry['dynamics']['deter'].dtype == 'bfloat16'
  model = dreamer_nnx.load_world_model(folder, True)
  observed = model.observe(OBS[None], action[None])
  imagined = model.imagine(observed, length=2)
  for x in (*imagined.feat.values(), imagined.reward, imagined.value):
    assert x.dtype == np.float32 and np.isfinite(x).all()
  assert model.decode(imagined.feat)['vector'].dtype == np.float32


def test_an_interface_that_lies_is_refused(workdir, tmp_path):
  def change(meta):
    meta['interface']['observation'] = {'kind': 'Box', 'shape': [-3]}

  folder = changed(workdir, tmp_path / 'run', change)
  with pytest.raises(UserError, match='its interface cannot be read'):
    dreamer_nnx.load_policy(folder)


def test_a_run_of_0_1_is_played(tmp_path):
  folder = extracted('workdirs_0_1.tar.xz', tmp_path)
  policy = dreamer_nnx.load_policy(folder / 'uniform')
  flat = policy.trained.interface.obs_space
  obs = {k: np.zeros(x.shape, x.dtype) for k, x in flat.items()}
  action, _ = policy(obs)
  assert policy.action_space.contains(action)


def test_a_wrong_name_is_answered_with_the_right_one():
  with pytest.raises(AttributeError, match="Did you mean 'load_policy'"):
    _ = dreamer_nnx.load_polcy
  assert 'load_policy' in dir(dreamer_nnx)
