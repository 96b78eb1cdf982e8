"""Renders a launch file for a pod, after checking what can be checked here.

  python -m experiments.pods.launch tpu v5e:4x4 --zone=ZONE \
    --workdir=gs://BUCKET/a -- --config=configs/demo.py:12m [launcher flags]
  python -m experiments.pods.launch gke v5p:4x4x4 --image=IMAGE --workdir=... --
  python -m experiments.pods.launch slurm gpu:4x8 --workdir=... -- ...

Prints the file, or with --run starts it. Before that the config is resolved,
and its mesh, batch and environments are held against devices and processes.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import shlex
import string
import subprocess
import sys

from dreamer_nnx import config as configs
from dreamer_nnx import paths
from experiments.jobs import runs
from experiments.jobs.launching import STOPPED

HERE = pathlib.Path(__file__).parent
TEMPLATES = {'tpu': 'tpu_vm.sh', 'gke': 'jobset.yaml', 'slurm': 'slurm.sh'}
START = {
  'tpu': ['bash'],
  'gke': ['kubectl', 'apply', '-f'],
  'slurm': ['sbatch'],
}
# Places that start a run again after a signal ended it.
RESTARTED = ('gke', 'slurm')
# GKE's names of accelerators, and the number of their chips on one host.
ACCELERATORS = {
  'v5e': ('tpu-v5-lite-podslice', 4),
  'v5p': ('tpu-v5p-slice', 4),
  'v6e': ('tpu-v6e-slice', 4),
}


# Mounts of a pod whose workdir is on a file system, and not in a bucket.
MOUNT = """
                  volumeMounts:
                    - name: runs
                      mountPath: {folder}
              volumes:
                - name: runs
                  persistentVolumeClaim:
                    claimName: {claim}"""


class LaunchError(ValueError):
  """A launch that cannot run in the place that is asked for."""


@dataclasses.dataclass(frozen=True)
class Slice:
  """Devices of one kind, such as v5e:4x4, or gpu:4x8 for 4 nodes of 8."""

  kind: str
  sides: tuple[int, ...]

  @classmethod
  def parse(cls, text: str) -> 'Slice':
    kind, _, sides = text.partition(':')
    known = (*ACCELERATORS, 'gpu')
    numbers = sides.split('x')
    if kind not in known or not all(n.isdigit() and int(n) for n in numbers):
      raise LaunchError(
        f'{text!r}: must be kind:sides, such as v5e:4x4 or gpu:4x8 (nodes x '
        f'GPUs), of one of the kinds {", ".join(known)}.'
      )
    return cls(kind, tuple(map(int, numbers)))

  @property
  def chips(self) -> int:
    return math.prod(self.sides)

  @property
  def chips_per_host(self) -> int:
    if self.kind == 'gpu':
      return self.sides[-1]
    return min(self.chips, ACCELERATORS[self.kind][1])

  @property
  def hosts(self) -> int:
    return self.chips // self.chips_per_host

  @property
  def processes(self) -> int:
    """Number of JAX's processes: on SLURM one per GPU, else one per host."""
    return self.chips if self.kind == 'gpu' else self.hosts


def check(config: configs.ConfigDict, place: Slice) -> None:
  """Refuses what the processes would refuse once they had started.

  Raises:
    ValueError: Mesh, batch or environments do not divide as they must.
  """
  parts = configs.bind_all(config)
  train, mesh = parts['train'](), parts['mesh']()
  data, fsdp, tensor = mesh.sizes(place.chips)
  counts = {
    'train.batch_size': (train.batch_size, data * fsdp, 'rows of the mesh'),
    'train.envs': (train.envs, place.processes, 'processes'),
  }
  for name, (value, count, what) in counts.items():
    if value % count:
      raise LaunchError(
        f'config.{name} = {value}: must be a multiple of the {count} {what}.'
      )
  local = place.chips // place.processes
  if local % tensor:
    raise LaunchError(
      f'config.mesh.tensor = {tensor}: must divide the {local} devices of a '
      'process.'
    )


def load(flags: list[str]) -> configs.ConfigDict:
  """The config of the launcher's flags.

  Raises:
    LaunchError: There is no --config among them.
  """
  given = [flag for flag in flags if flag.startswith('--config=')]
  if not given:
    raise LaunchError('--config: name a config file, as for the launcher.')
  return runs.checked(given[-1].partition('=')[2], flags)


def render(
  target: str, place: Slice, options: argparse.Namespace, flags: list[str]
) -> str:
  """The launch file."""
  words = ['python', '-m', 'dreamer_nnx.main', '--distributed']
  words.append(f'--workdir={options.workdir}')
  if target in RESTARTED:
    words.append(f'--stopped_status={STOPPED}')
  words += flags
  command = shlex.join(words)
  if target == 'tpu':
    command = shlex.quote(f'cd {shlex.quote(options.folder)} && {command}')
  if target == 'gke':
    command = json.dumps(words)
  accelerator = ACCELERATORS.get(place.kind, ('',))[0]
  template = string.Template((HERE / TEMPLATES[target]).read_text())
  return template.substitute(
    vars(options),
    command=command,
    chips=place.chips,
    chips_per_host=place.chips_per_host,
    hosts=place.hosts,
    processes=place.processes,
    stopped=STOPPED,
    accelerator=accelerator,
    topology='x'.join(map(str, place.sides)),
    mount=mount(options),
    logs='' if paths.in_bucket(options.workdir) else f'{options.workdir}/',
  )


def mount(options: argparse.Namespace) -> str:
  """Returns the mount of a pod; empty for a bucket."""
  if paths.in_bucket(options.workdir):
    return ''
  folder = json.dumps(str(pathlib.PurePosixPath(options.workdir).parent))
  return MOUNT.format(folder=folder, claim=options.claim)


def parser() -> argparse.ArgumentParser:
  made = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  made.add_argument('target', choices=TEMPLATES)
  made.add_argument('slice', help='v5e:4x4, v5p:4x4x4, gpu:NODESxGPUS')
  made.add_argument('--name', default='dreamer')
  made.add_argument(
    '--workdir',
    required=True,
    help='gs://BUCKET/FOLDER, or on a file system that all hosts share',
  )
  made.add_argument('--zone', default='', help='tpu: of the slice')
  made.add_argument(
    '--folder', default='dreamer_nnx', help='tpu: of the code on each host'
  )
  made.add_argument('--image', default='', help='gke: container of the code')
  made.add_argument(
    '--claim',
    default='runs',
    help='gke: PersistentVolumeClaim of a workdir that is not in a bucket',
  )
  made.add_argument(
    '--account',
    default='default',
    help='gke: Kubernetes service account, which may use the bucket',
  )
  made.add_argument('--time', default='24:00:00', help='slurm: limit')
  made.add_argument('--run', action='store_true', help='start it, too')
  return made


NEEDED = {'tpu': ('zone',), 'gke': ('image',), 'slurm': ()}


def prepare(argv: list[str]) -> tuple[argparse.Namespace, str]:
  """Options and the launch file.

  Raises:
    ValueError: What is asked for cannot run there.
  """
  split = argv.index('--') if '--' in argv else len(argv)
  options, flags = parser().parse_args(argv[:split]), argv[split + 1 :]
  place = Slice.parse(options.slice)
  if (place.kind == 'gpu') != (options.target == 'slurm'):
    raise LaunchError(f'{options.slice}: is not what {options.target} has.')
  for name in NEEDED[options.target]:
    if not getattr(options, name):
      raise LaunchError(f'--{name}: is needed for {options.target}.')
  shared = paths.parse(options.workdir, '--workdir')
  if str(shared) != options.workdir.rstrip('/'):
    raise LaunchError(
      f'--workdir={options.workdir}: must be gs://BUCKET/FOLDER, or an '
      'absolute path on a file system that all hosts share.'
    )
  check(load(flags), place)
  return options, render(options.target, place, options, flags)


def main(argv: list[str]) -> int:
  try:
    options, text = prepare(argv)
  except ValueError as error:
    print(error, file=sys.stderr)
    return 2
  print(text, end='')
  if not options.run:
    return 0
  file = pathlib.Path(f'{options.name}.{TEMPLATES[options.target]}')
  file.write_text(text)
  return subprocess.run([*START[options.target], file], check=False).returncode


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
