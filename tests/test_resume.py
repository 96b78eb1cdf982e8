"""A run that was interrupted ends like one that was not, bit for bit."""

import json
import signal

import jax
import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from dreamer_nnx.run import Run, saved_config
from dreamer_nnx.training import sharding
from dreamer_nnx.training.checkpoint import load_meta, restore
from tests.launcher import (
  ROOT,
  arguments,
  finish,
  learner,
  spawn,
  training,
)
from tests.plain import PLAIN

DEMO = str(ROOT / 'configs' / 'demo.py')


def train(workdir, **changes):
  argv = [*arguments(workdir, **changes), '--mode=train']
  result = finish(spawn(argv))
  assert result.status == 0, result.out
  return result


def restored(workdir):
  """The latest checkpoint of a run, from its path alone."""
  config = configs.resolve(saved_config(workdir, trust_config=True))
  envs = workflow.make_envs(config)
  mesh = sharding.make_sharding(devices=jax.devices()[:1])
  built = learner(config, envs.obs_space, envs.action_space, mesh)
  return restore(workdir, built.abstract)


def state_of(workdir):
  """Every saved array of a run."""
  saved = restored(workdir)
  key = saved.state.pop('key')
  arrays = saved.state | saved.loop | {'key': jax.random.key_data(key)}
  return {name: np.asarray(value) for name, value in arrays.items()}


def assert_same(one, other):
  """The same arrays, bit for bit."""
  assert one.keys() == other.keys()
  for name in one:
    assert one[name].dtype == other[name].dtype, name
    np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert one[name].tobytes() == other[name].tobytes(), name


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """An uninterrupted run of 60 steps."""
  workdir = tmp_path_factory.mktemp('whole')
  train(workdir)
  return workdir


def test_updates_happened_and_changed_the_parameters(whole):
  counters = load_meta(whole)['counters']
  assert counters['env_steps'] == 60
  assert counters['updates'] >= 50
  state = state_of(whole)
  assert state['updates'] == counters['updates']
  assert np.abs(
    state['optimizer/2/mu/behavior/policy/mlp/layers/0/linear/kernel']
  ).max()


@pytest.mark.whole
def test_same_seed_gives_the_same_bits(whole, tmp_path):
  train(tmp_path)
  assert_same(state_of(whole), state_of(tmp_path))


def test_other_seed_gives_other_bits(whole, tmp_path):
  train(tmp_path, seed=1)
  name = 'behavior/policy/mlp/layers/0/linear/kernel'
  assert not np.array_equal(state_of(whole)[name], state_of(tmp_path)[name])


def test_resumed_run_equals_the_uninterrupted_one(whole, tmp_path):
  train(tmp_path, train__steps=30)
  assert load_meta(tmp_path)['counters']['env_steps'] == 30
  train(tmp_path)
  assert_same(state_of(whole), state_of(tmp_path))
  metas = [load_meta(workdir) for workdir in (whole, tmp_path)]
  assert metas[0]['counters'] == metas[1]['counters']
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  found = [json.loads(line) for line in lines]
  goes_on = [line for line in found if 'run/starts' in line]
  assert goes_on == [{'env_steps': 30, 'frames': 30, 'run/starts': 2}]
  steps = [line['env_steps'] for line in found]
  assert steps == [20, 30, 40, 60]


@pytest.mark.whole
def test_sigterm_saves_and_exits_with_0(tmp_path):
  argv = [*arguments(tmp_path, train__steps=1_000_000), '--mode=train']
  process = spawn(argv)
  training(process)
  process.send_signal(signal.SIGTERM)
  result = finish(process)
  assert result.status == 0, result.out
  assert 'saved' in result.out
  steps = load_meta(tmp_path)['counters']['env_steps']
  assert 0 < steps < 1_000_000
  assert f'Stopped at {steps} environment steps' in result.out


def test_a_checkpoint_before_the_first_step_is_gone_on_from(tmp_path):
  argv = [*arguments(tmp_path, train__steps=2), '--mode=train']
  config = configs.from_json(configs.to_json(overrides.load_file(DEMO)))
  overrides.override(config, [x for x in argv if x.startswith('--config.')])
  with Run(config, tmp_path) as run:
    run._save(run._trainer(evaluate=False), {})
  with Run(config, tmp_path) as run:
    assert run.saved.step == run.env_steps == 0


def test_a_stop_can_have_a_status_of_its_own(tmp_path):
  argv = [*arguments(tmp_path, train__steps=1_000_000), '--mode=train']
  process = spawn([*argv, '--stopped_status=75'], more=PLAIN)
  training(process)
  process.send_signal(signal.SIGTERM)
  result = finish(process)
  assert result.status == 75, result.out
  assert load_meta(tmp_path)['counters']['env_steps'] > 0


def test_metrics_of_a_run_are_valid_json_lines(whole):
  lines = (whole / 'metrics.jsonl').read_text().splitlines()
  steps = [json.loads(line)['env_steps'] for line in lines]
  assert steps == [20, 40, 60]
