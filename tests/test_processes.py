"""Runs of several processes: together, interrupted, killed, and elsewhere."""

import json
import os
import re
import shutil
import signal
import time

import pytest

from dreamer_nnx.training.checkpoint import latest, load_meta
from tests.launcher import (
  arguments,
  finish,
  running,
  spawn_all,
  spawn_each,
  spawn_in_cluster,
  training,
)
from tests.plain import PLAIN
from tests.test_resume import restored
from tests.training.elastic import digests

OPTIONS = {
  'train__batch_size': 4,
  'train__envs': 4,
  'train__train_ratio': 4.0,
  'train__steps': 60,
  'evaluate__episodes': 3,
}
# The others end within so many seconds of the death of one.
SECONDS = 60


def start(workdir, count=2, devices=2, mode='train', **changes):
  argv = arguments(workdir, **OPTIONS | changes)
  return spawn_all([*argv, f'--mode={mode}'], count, devices, more=PLAIN)


def end(processes, status=0):
  results = [finish(process) for process in processes]
  for result in results:
    assert result.status == status, result.out
  return results


def chunk_ids(workdir):
  states = load_meta(workdir)['processes']
  return [[chunk[1] for chunk in state['replay']['chunks']] for state in states]


@pytest.fixture(scope='module', autouse=True)
def late():
  """Two processes that idle beside the other tests, and compute at last."""
  # Gloo gives devices 30 seconds to connect.
  processes = spawn_all(['34'], 2, 2, 'tests.training.late', PLAIN)
  yield processes
  for process in processes:
    process.kill()


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
  """A workdir of two processes with two devices each, and their outputs."""
  workdir = tmp_path_factory.mktemp('pair')
  results = end(start(workdir, mode='train_and_evaluate'))
  return workdir, [result.out for result in results]


def test_two_processes_train_as_one_run_and_the_first_logs(pair):
  workdir, (first, second) = pair
  meta = load_meta(workdir)
  assert meta['counters']['env_steps'] == 60
  assert meta['counters']['updates'] > 5
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  logged = [json.loads(line) for line in lines]
  assert [line['env_steps'] for line in logged] == [0, 20, 40, 60, 60]
  # All four environments of both processes: 60 steps are 15 of each.
  assert logged[-2]['replay/steps'] == 60
  assert sum(line.get('episode/count', 0) for line in logged) == 4
  assert 'Return trained' in first and 'Return trained' not in second
  assert 'env steps' in first and 'env steps' not in second
  lines = (workdir / 'evaluations.jsonl').read_text().splitlines()
  assert [json.loads(line)['eval/episodes'] for line in lines] == [3.0, 3.0]


def test_processes_have_their_own_experience(pair):
  workdir, _ = pair
  one, other = load_meta(workdir)['processes']
  assert one['envs'] != other['envs']
  ids = [set(part) for part in chunk_ids(workdir)]
  assert ids[0] and ids[1] and not ids[0] & ids[1]


@pytest.mark.parametrize(
  'count, devices, mesh',
  [
    pytest.param(1, 1, {}, marks=pytest.mark.whole),
    (1, 4, {'mesh__data': 1, 'mesh__fsdp': 2, 'mesh__tensor': 2}),
    (4, 1, {}),
    pytest.param(
      *(2, 2, {'mesh__data': 2, 'mesh__fsdp': 2}), marks=pytest.mark.whole
    ),
  ],
)
def test_it_goes_on_exactly_on_any_topology(
  pair, tmp_path, count, devices, mesh
):
  workdir = tmp_path / 'run'
  shutil.copytree(pair[0], workdir)
  state, before = digests(restored(workdir).state), chunk_ids(workdir)
  flags = arguments(workdir, **OPTIONS | mesh | {'train__steps': 76})
  flags = [flag for flag in flags if flag.startswith('--config.')]
  results = end(
    spawn_all(
      [str(workdir), *flags], count, devices, 'tests.training.elastic', PLAIN
    )
  )
  shown = json.loads(re.search(r'^\{.*\}$', results[0].out, re.M)[0])
  assert shown['state'] == state
  expected = {f'mesh__{name}': size for name, size in shown['mesh'].items()}
  assert expected.items() >= mesh.items()
  meta = load_meta(workdir)
  assert meta['counters']['env_steps'] == 76
  assert meta['counters']['updates'] > load_meta(pair[0])['counters']['updates']
  after = [ident for part in chunk_ids(workdir) for ident in part]
  assert len(after) == len(set(after))
  assert {ident for part in before for ident in part} <= set(after)
  assert len(meta['processes']) == count


@pytest.mark.whole
def test_the_same_topology_resumes_bit_for_bit(pair, tmp_path):
  end(start(tmp_path, train__steps=32))
  assert latest(tmp_path) == 32
  end(start(tmp_path))
  assert digests(restored(tmp_path).state) == digests(restored(pair[0]).state)
  metas = [load_meta(path) for path in (tmp_path, pair[0])]
  assert metas[0]['counters'] == metas[1]['counters']
  states = [[state['envs'] for state in meta['processes']] for meta in metas]
  assert states[0] == states[1]


def test_parameters_are_gathered_once_an_update_and_acting_gathers_none(
  tmp_path,
):
  mesh = {'mesh__data': 1, 'mesh__fsdp': 4, 'train__train_ratio': 2.0}
  flags = arguments(tmp_path, **OPTIONS | mesh)
  flags = [flag for flag in flags if flag.startswith('--config.')]
  results = end(
    spawn_all([str(tmp_path), *flags], 2, 2, 'tests.training.gathering', PLAIN)
  )
  found = json.loads(re.search(r'^\{.*\}$', results[0].out, re.M)[0])
  assert found['collectives']['act'] == 0 < found['collectives']['gather']
  # An update every other step; one gather more at the start, and one for each
  # of the two evaluations.
  assert 2 < found['updates'] < found['steps'] / 2
  assert found['gathers'] == found['updates'] + 3
  assert found['one_by_one']


def slurm(index):
  return {
    'SLURM_JOB_ID': str(os.getpid()),
    'SLURM_STEP_NODELIST': 'localhost',
    'SLURM_NTASKS': '2',
    'SLURM_PROCID': str(index),
    'SLURM_LOCALID': str(index),
  }


def open_mpi(index):
  job = (os.getpid() % 4096) << 16
  return {
    'OMPI_MCA_orte_hnp_uri': f'{job}.0;tcp://127.0.0.1:34911',
    'OMPI_COMM_WORLD_SIZE': '2',
    'OMPI_COMM_WORLD_RANK': str(index),
    'OMPI_COMM_WORLD_LOCAL_RANK': str(index),
  }


@pytest.mark.parametrize('cluster', [slurm, open_mpi])
def test_a_cluster_says_who_takes_part(tmp_path, cluster):
  argv = arguments(tmp_path, **OPTIONS | {'train__steps': 8})
  variables = [PLAIN | cluster(index) for index in range(2)]
  end(spawn_in_cluster([*argv, '--mode=train'], variables))
  assert len(load_meta(tmp_path)['processes']) == 2


def test_sigterm_on_one_saves_the_same_step_on_all(tmp_path):
  processes = start(tmp_path, train__steps=1_000_000)
  training(processes[0])
  processes[1].send_signal(signal.SIGTERM)
  results = end(processes)
  steps = load_meta(tmp_path)['counters']['env_steps']
  assert 0 < steps < 1_000_000
  assert f'Stopped at {steps} environment steps; saved.' in results[0].out


def test_one_killed_the_other_ends_and_both_go_on(tmp_path):
  processes = start(tmp_path, train__steps=1_000_000, train__save_every=8)
  training(processes[0])
  while not latest(tmp_path):
    running(processes[0])
    time.sleep(0.1)
  processes[1].kill()
  killed = time.monotonic()
  result = finish(processes[0])
  assert time.monotonic() - killed < SECONDS
  assert result.status not in (0, None), result.out
  assert 'one of them is probably gone' in result.out
  processes[1].communicate()
  step = latest(tmp_path)
  end(start(tmp_path, train__steps=step + 8))
  assert load_meta(tmp_path)['counters']['env_steps'] == step + 8


def test_what_does_not_divide_is_refused_by_all(tmp_path):
  processes = start(tmp_path, train__envs=3)
  for result in end(processes, status=2):
    message = 'config.train.envs = 3: must be a multiple of the 2 processes.'
    assert message in result.out
  assert not (tmp_path / 'replay').exists()


def test_a_tensor_axis_beyond_a_process_is_refused_by_all(tmp_path):
  processes = start(tmp_path, mesh__data=1, mesh__tensor=4)
  for result in end(processes, status=2):
    message = 'config.mesh.tensor = 4: must divide the devices of a process, 2.'
    assert message in result.out


def test_all_say_what_is_wrong_though_one_is_late_with_it():
  processes = spawn_all(['2'], 2, 1, 'tests.training.leaving', PLAIN)
  for result in end(processes, status=2):
    assert result.out.endswith('field = 3: is wrong.\n'), result.out


def test_processes_that_differ_say_where_before_they_compile(tmp_path):
  argv = arguments(tmp_path, **OPTIONS)
  ways = [[*argv, f'--config.seed={seed}', '--mode=train'] for seed in (3, 4)]
  for result in end(spawn_each(ways), status=2):
    assert 'config.seed is 3 in process 0, 4 in process 1' in result.out
    assert 'Traceback' not in result.out
  assert not (tmp_path / 'checkpoints').exists()


def test_one_may_compile_for_longer_than_devices_have_to_connect(late):
  for result in end(late):
    assert '[2.0, 4.0] [0, 1]' in result.out
