"""Every launch file is well-formed and asks for what the run needs."""

import json
import re
import shlex
import subprocess

import pytest
import yaml

from experiments.pods import launch

FLAGS = [
  '--',
  '--config=configs/demo.py:12m',
  '--config.train.batch_size=256',
  '--config.train.envs=64',
]
WORKDIR = '--workdir=gs://runs/it is'
MOUNTED = '--workdir=/mnt/runs/it is'
SPECIAL = "--restore_include=^(encoder|it's)/"


def render(*argv):
  return launch.prepare([*argv, *FLAGS, SPECIAL])[1]


def is_launcher(words, *more, workdir=WORKDIR):
  assert words[:4] == ['python', '-m', 'dreamer_nnx.main', '--distributed']
  assert words[4:] == [workdir, *more, *FLAGS[1:], SPECIAL]


def bash_accepts(text):
  done = subprocess.run(['bash', '-n'], input=text, text=True, check=False)
  return done.returncode == 0


def test_a_tpu_slice_gets_one_command_for_all_its_hosts():
  text = render('tpu', 'v5e:16x16', '--zone=us-east1-c', WORKDIR)
  assert bash_accepts(text)
  assert 'slice of 256 chips' in text and 'its\n# 64 hosts' in text
  body = text[text.index('gcloud') :].replace('\\\n', ' ')
  *start, command = shlex.split(body)
  assert start == [
    *['gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', 'dreamer'],
    '--zone=us-east1-c',
    '--worker=all',
  ]
  folder, _, rest = command.removeprefix('--command=').partition(' && ')
  assert folder == 'cd dreamer_nnx'
  is_launcher(shlex.split(rest))


@pytest.mark.parametrize('workdir', [WORKDIR, MOUNTED])
def test_a_jobset_has_a_pod_for_each_host(workdir):
  text = render('gke', 'v5p:4x4x4', '--image=repo/dreamer:1', workdir)
  made = yaml.safe_load(text)
  assert (made['apiVersion'], made['kind']) == (
    'jobset.x-k8s.io/v1alpha2',
    'JobSet',
  )
  (job,) = made['spec']['replicatedJobs']
  spec = job['template']['spec']
  assert spec['parallelism'] == spec['completions'] == 16
  pod = spec['template']['spec']
  assert pod['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v5p-slice',
    'cloud.google.com/gke-tpu-topology': '4x4x4',
  }
  (container,) = pod['containers']
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  if workdir == WORKDIR:
    assert 'volumes' not in pod and 'volumeMounts' not in container
  else:
    assert container['volumeMounts'][0]['mountPath'] == '/mnt/runs'
    (volume,) = pod['volumes']
    assert volume['persistentVolumeClaim'] == {'claimName': 'runs'}
  # A pod that ends with 0 would be done, and the training with it.
  is_launcher(container['command'], '--stopped_status=75', workdir=workdir)
  # Longer than it takes to finish a step and save.
  assert pod['terminationGracePeriodSeconds'] >= 120


@pytest.mark.parametrize(
  'workdir, log',
  [
    ('gs://runs/a', 'slurm-%j.log'),
    ('/mnt/runs/a', '/mnt/runs/a/slurm-%j.log'),
  ],
)
def test_slurm_starts_a_process_for_each_gpu(workdir, log):
  text = render('slurm', 'gpu:4x8', '--time=2:00:00', f'--workdir={workdir}')
  assert bash_accepts(text)
  options = dict(re.findall(r'^#SBATCH --([\w-]+)=(\S+)$', text, re.M))
  assert options['output'] == log
  assert options['nodes'] == '4'
  assert options['ntasks-per-node'] == options['gpus-per-node'] == '8'
  assert options['time'] == '2:00:00'
  assert options['signal'] == 'TERM@120'
  (line,) = re.findall(r'^srun (.*) \|\| status=\$\?$', text, re.M)
  assert shlex.split(line)[:4] == [
    *['python', '-m', 'dreamer_nnx.main', '--distributed']
  ]
  assert '--stopped_status=75' in line
  assert requeued(text, 75) and not requeued(text, 0) and not requeued(text, 1)


def requeued(text, status):
  """Tells whether the script queues its job again after such an end of srun."""
  stubs = f'srun() {{ return {status}; }}; scontrol() {{ echo "$@"; }}\n'
  done = subprocess.run(
    ['bash'],
    input=stubs + text,
    env={'SLURM_JOB_ID': '7'},
    text=True,
    capture_output=True,
    check=False,
  )
  assert done.returncode == status
  return done.stdout == 'requeue 7\n'


@pytest.mark.parametrize(
  'argv, message',
  [
    (['tpu', 'v9:4x4', '--zone=z'], "'v9:4x4': must be kind:sides"),
    (['tpu', 'v5e:4xq', '--zone=z'], "'v5e:4xq': must be kind:sides"),
    (['tpu', 'gpu:4x8', '--zone=z'], 'gpu:4x8: is not what tpu has'),
    (['tpu', 'v5e:4x4'], '--zone: is needed for tpu'),
    (['gke', 'v5e:4x4'], '--image: is needed for gke'),
  ],
)
def test_what_a_place_does_not_have_is_refused(argv, message):
  with pytest.raises(launch.LaunchError, match=re.escape(message)):
    render(*argv, WORKDIR)


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--config.train.batch_size=24'], 'config.train.batch_size = 24: must be'),
    (['--config.train.envs=6'], 'config.train.envs = 6: must be a multiple of'),
    (['--config.mesh.data=3'], 'does not make up the 16 devices'),
    (
      ['--config.mesh.tensor=8'],
      'config.mesh.tensor = 8: must divide the 4 devices of a process',
    ),
    (['--config.mesh.dat=3'], 'config.mesh.dat'),
    (['--config=nothing.py'], "there is no file 'nothing.py'"),
  ],
)
def test_configs_that_would_fail_there_fail_here(flags, message, capsys):
  argv = ['tpu', 'v5e:4x4', '--zone=z', WORKDIR, *FLAGS, *flags]
  assert launch.main(argv) == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize(
  'workdir, message',
  [
    ('runs', 'must be gs://BUCKET/FOLDER, or an absolute path'),
    ('~/runs', 'must be gs://BUCKET/FOLDER, or an absolute path'),
    ('s3://runs/a', 'paths of s3:// cannot be used'),
  ],
)
def test_workdirs_must_be_shared(workdir, message, capsys):
  argv = ['slurm', 'gpu:1x8', f'--workdir={workdir}', *FLAGS]
  assert launch.main(argv) == 2
  assert message in capsys.readouterr().err


def test_the_file_is_printed(capsys):
  argv = ['tpu', 'v5e:4x4', '--zone=z', WORKDIR, *FLAGS]
  assert launch.main(argv) == 0
  assert capsys.readouterr().out.startswith('#!/usr/bin/env bash')


def test_words_of_json_are_those_of_yaml():
  words = ['a b', 'it\'s "so"', '^(x|y)/$']
  assert yaml.safe_load(f'command: {json.dumps(words)}')['command'] == words
