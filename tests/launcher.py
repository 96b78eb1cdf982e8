"""Runs the launcher, in this process or in one of its own."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple
from unittest import mock

import jax
from absl import flags

from dreamer_nnx import config as configs
from dreamer_nnx import launcher_flags, main, workflow
from dreamer_nnx.training.step import Learner
from tests import ports
from tests.plain import CACHE

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = {
  'config.env.track.size': 8,
  'config.env.track.length': 8,
  'config.encoder.simple.mults': '(2,)',
  'config.decoder.simple.mults': '(2,)',
  'config.train.batch_size': 2,
  'config.train.batch_length': 4,
  'config.train.envs': 2,
  'config.train.steps': 60,
  'config.train.train_ratio': 16.0,
  'config.train.report_every': 0,
  'config.train.log_every': 20,
  'config.replay.chunked.capacity': 512,
  'config.replay.chunked.chunk_size': 32,
  'config.agent.imag_length': 3,
  'config.dynamics.rssm.deter': 16,
  'config.dynamics.rssm.hidden': 8,
  'config.dynamics.rssm.imglayers': 1,
  'config.reward.units': 8,
  'config.cont.units': 8,
  'config.behavior.actor_critic.policy.mlp.layers': 1,
  'config.behavior.actor_critic.policy.mlp.units': 8,
  'config.behavior.actor_critic.value.layers': 1,
  'config.behavior.actor_critic.value.units': 8,
  'config.evaluate.episodes': 2,
  'config.evaluate.envs': 2,
  # Whatever the machine is doing, saves are where tests expect them.
  'config.checkpoint.patience': 300.0,
}
# What the launcher sets of JAX for its whole process.
SECONDS = 'jax_persistent_cache_min_compile_time_secs'
# What the fields of TINY belong to.
CHOSEN = {
  'config.behavior.name': 'actor_critic',
  'config.env.name': 'track',
  'config.encoder.name': 'simple',
  'config.decoder.name': 'simple',
  'config.dynamics.name': 'rssm',
  'config.replay.name': 'chunked',
}

# What a learner does not depend on, and what it does of `train`.
APART = {'checkpoint', 'env', 'evaluate', 'loggers', 'plugins', 'replay'}
APART |= {'seed'}
TRAINED = ('batch_length', 'batch_size')
_LEARNERS: dict[str, Learner] = {}
# Seconds after which a process is taken to hang.
LONG = 300
_make_learner = workflow.make_learner


class Result(NamedTuple):
  """How a launch ended."""

  status: int
  out: str
  err: str


def arguments(workdir: str | os.PathLike, **changes: object) -> list[str]:
  """Flags of a tiny run on `track`; `changes` name fields, `__` for dots.

  Those of components that the changes replace are left out.
  """
  new = {f'config.{k.replace("__", ".")}': v for k, v in changes.items()}
  replaced = tuple(
    f'{path.removesuffix("name")}{CHOSEN[path]}.'
    for path in CHOSEN.keys() & new.keys()
    if new[path] != CHOSEN[path]
  )
  fields = {k: v for k, v in TINY.items() if not k.startswith(replaced)} | new
  return [
    f'--config={ROOT / "configs" / "demo.py"}',
    f'--workdir={workdir}',
    f'--compilation_cache={CACHE}',
    *(f'--{name}={value}' for name, value in fields.items()),
  ]


def learner(config, obs_space, action_space, mesh=None) -> Learner:
  """As `workflow.make_learner`, but one for all runs that compile the same."""
  fields = configs.resolve(config).to_dict()
  groups = {k: v for k, v in fields.items() if k not in APART}
  groups['train'] = {k: groups['train'][k] for k in TRAINED}
  name = repr((groups, obs_space, action_space, mesh))
  if name not in _LEARNERS:
    _LEARNERS[name] = _make_learner(config, obs_space, action_space, mesh)
  return _LEARNERS[name]


def launch(argv: list[str]) -> Result:
  """Runs the launcher in this process."""
  out, err, hook = io.StringIO(), io.StringIO(), sys.unraisablehook
  seconds = getattr(jax.config, SECONDS)
  flags.FLAGS.unparse_flags()
  for flag in flags.FLAGS.get_flags_for_module(launcher_flags.__name__):
    flag.unparse()
  # Not that of the user, which JAX would keep to for the whole process.
  flags.FLAGS['compilation_cache'].value = str(CACHE)
  with (
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(err),
    mock.patch.object(workflow, 'make_learner', learner),
  ):
    try:
      main.main(main.parse(['dreamer-nnx', *argv]))
      status = 0
    except SystemExit as exit:
      status = exit.code
    finally:
      sys.unraisablehook = hook
      jax.config.update(SECONDS, seconds)
  return Result(status, out.getvalue(), err.getvalue())


def spawn(
  argv: list[str],
  module: str = 'dreamer_nnx.main',
  more: dict[str, str] | None = None,
) -> subprocess.Popen:
  """Starts the launcher in a process of its own, compiling as users do.

  Args:
    more: Environment variables, e.g. `PLAIN`, to compile quickly.
  """
  return _start([module, *argv], more=more)


def spawn_in_cluster(
  argv: list[str], variables: list[dict[str, str]]
) -> list[subprocess.Popen]:
  """Starts processes that learn their places from environment variables."""
  command = ['dreamer_nnx.main', *argv, '--distributed']
  return [_start(command, more=more) for more in variables]


def _start(
  command: list[str], devices: int = 1, more: dict[str, str] | None = None
) -> subprocess.Popen:
  more = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '0', 'XLA_FLAGS': ''} | (more or {})
  flags = f'--xla_force_host_platform_device_count={devices}'
  return subprocess.Popen(
    [sys.executable, '-m', *command],
    cwd=ROOT,
    env=os.environ | more | {'XLA_FLAGS': f'{flags} {more["XLA_FLAGS"]}'},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def spawn_all(
  argv: list[str],
  count: int,
  devices: int = 1,
  module: str = '',
  more: dict[str, str] | None = None,
) -> list[subprocess.Popen]:
  """Starts processes that train together, each with some CPU devices.

  Args:
    module: Another program than the launcher, which is given the address of
      the first process, their number and its own before `argv`.
    more: Environment variables.
  """
  return spawn_each([argv] * count, devices, module, more)


def spawn_each(
  argvs: list[list[str]],
  devices: int = 1,
  module: str = '',
  more: dict[str, str] | None = None,
) -> list[subprocess.Popen]:
  """Likewise, each with flags of its own."""
  address = f'127.0.0.1:{ports.reserved()}'
  processes = []
  for index, argv in enumerate(argvs):
    place = [address, str(len(argvs)), str(index)]
    command = [module, argv[0], *place, *argv[1:]]
    if not module:
      names = ('coordinator_address', 'num_processes', 'process_id')
      flags = (f'--{n}={x}' for n, x in zip(names, place, strict=True))
      command = ['dreamer_nnx.main', *argv, '--distributed', *flags]
    processes.append(_start(command, devices, more))
  return processes


def training(process: subprocess.Popen) -> None:
  """Waits until a process of `spawn` shows that it trains."""
  lines = []
  for line in process.stdout:
    if 'env steps' in line and 'updates' in line:
      return
    lines.append(line)
  raise AssertionError(f'ended before it trained:\n{"".join(lines)}')


def running(process: subprocess.Popen) -> None:
  """Fails with what a process of `spawn` said, if it is over."""
  if process.poll() is not None:
    raise AssertionError(f'ended too soon:\n{process.communicate()[0]}')


def finish(process: subprocess.Popen) -> Result:
  """Waits for a process of `spawn`."""
  try:
    out, _ = process.communicate(timeout=LONG)
  except subprocess.TimeoutExpired:
    process.kill()
    out, _ = process.communicate()
    raise AssertionError(f'did not end within {LONG} s:\n{out}') from None
  return Result(process.returncode, out, '')
