"""Tries an installed dreamer_nnx, away from any checkout.

  python -I try_wheel.py VERSION

Run by `make release` in a fresh environment and an empty folder. Ends with the
first thing that is not as it should be.
"""

import importlib
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import dreamer_nnx

BIN = pathlib.Path(sys.executable).parent
HEAVY = ('flax', 'gymnasium', 'jax', 'numpy', 'orbax')
IMPORT = f"""
import sys, time
start = time.perf_counter()
import dreamer_nnx
print(time.perf_counter() - start, *set({HEAVY!r}) & set(sys.modules))
"""
# So that it trains in seconds.
TINY = {
  'env.track.size': 8,
  'env.track.length': 8,
  'encoder.simple.mults': '(2,)',
  'decoder.simple.mults': '(2,)',
  'dynamics.rssm.deter': 16,
  'dynamics.rssm.hidden': 8,
  'train.batch_size': 2,
  'train.batch_length': 4,
  'train.envs': 2,
  'train.steps': 64,
  'train.train_ratio': 8.0,
  'train.report_every': 0,
  'agent.imag_length': 3,
  'evaluate.episodes': 2,
  'evaluate.envs': 2,
}
FLAGS = [f'--config.{name}={value}' for name, value in TINY.items()]
# The front door, each in ten lines at most; they follow each other.
PROGRAMS = {
  'train': """
import dreamer_nnx
config = dreamer_nnx.load_config('cartpole', {
  '**.units': 8, 'dynamics.rssm.deter': 16, 'train.steps': 40,
  'train.train_ratio': 8.0, 'train.batch_size': 2, 'train.batch_length': 4})
with dreamer_nnx.Run(config, 'python') as run:
  run.train(evaluate=False)
""",
  'evaluate': """
import dreamer_nnx
from dreamer_nnx.run import saved_config
with dreamer_nnx.Run(saved_config('python'), 'python', training=False) as run:
  assert run.evaluate()['eval/return'] > 0
""",
  'act for an episode': """
import dreamer_nnx
import gymnasium
policy, env = dreamer_nnx.load_policy('python'), gymnasium.make('CartPole-v1')
(obs, _), state, steps, done = env.reset(seed=0), None, 0, False
while not done:
  action, state = policy(obs, state, mode='sample')
  obs, reward, terminated, truncated, _ = env.step(action)
  steps, done = steps + 1, terminated or truncated
assert steps >= 8
""",
  'dream and decode': """
import dreamer_nnx
import numpy as np
model = dreamer_nnx.load_world_model('python')
observed = model.observe(np.zeros((6, 4)), np.ones(6, int))
imagined = model.imagine(observed, length=5)
decoded = model.decode(imagined.feat)
assert decoded['vector'].shape == (6, 4) and imagined.action.shape == (5,)
""",
}
ALONE = """
import sys, dreamer_nnx
dreamer_nnx.load_policy('python')([0.0, 0.0, 0.0, 0.0])
print('gymnasium' in sys.modules)
"""
LINES = 10
# No process may take longer, in seconds.
LIMIT = 900


def main(version: str) -> None:
  checks = (
    lambda: installed(version),
    imported,
    shipped,
    shown,
    refused,
    trained,
    opened,
  )
  for check in checks:
    tried(check)


def tried(check: Callable[[], str]) -> None:
  """Runs a check and prints what it found, and how long it took."""
  start = time.perf_counter()
  text = check()
  print(f'  ok  {text} ({time.perf_counter() - start:.1f} s)', flush=True)


def installed(version: str) -> str:
  """The package is that of this environment, of the version expected."""
  file = pathlib.Path(dreamer_nnx.__file__).resolve()
  expect(file.is_relative_to(pathlib.Path(sys.prefix).resolve()), file)
  found = dreamer_nnx.__version__, importlib.metadata.version('dreamer-nnx')
  expect(found == (version, version), found)
  return f'dreamer_nnx {version} on Python {sys.version.split()[0]}'


def imported() -> str:
  """Importing it is quick, for it imports no large library."""
  seconds, *heavy = ran([sys.executable, '-I', '-c', IMPORT]).split()
  expect(not heavy and float(seconds) < 1, (seconds, heavy))
  return f'import dreamer_nnx takes {1000 * float(seconds):.0f} ms'


def shipped() -> str:
  """The shipped configs are found by name, and as modules of the package."""
  from dreamer_nnx import overrides
  from dreamer_nnx.shipped import shipped as names

  expect({'cartpole', 'demo'} <= set(names()), names())
  for name in names():
    overrides.load_file(name)
  demo = importlib.import_module('dreamer_nnx.configs.demo')
  deter = [demo.get_config(x).dynamics.rssm.deter for x in ('1m', '12m')]
  large = overrides.load_file('demo:12m').dynamics.rssm.deter
  expect(deter[0] < deter[1] == large, (deter, large))
  return f'configs {", ".join(names())}'


def shown() -> str:
  """The program says what it would build."""
  text = launched('--mode=show', '--config=demo')
  expect('encoder/' in text, text)
  text = launched('--mode=list', '--slot=encoder')
  expect('simple' in text and 'units' in text, text)
  return 'dreamer-nnx --mode=show --config=demo, --mode=list --slot=encoder'


def refused() -> str:
  """A name that is not right is answered with the one that is."""
  for flag, meant in (
    ('--config=dmeo', "Did you mean 'demo'?"),
    ('--config=configs/demo.py', '--config=demo'),
  ):
    text = launched('--mode=show', flag, status=2)
    expect(meant in text and 'Traceback' not in text, text)
  return 'wrong names are answered with the right ones'


def trained() -> str:
  """It trains, evaluates, saves, and goes on from what it has saved."""
  expect(not os.listdir(), os.listdir())
  run = ['--config=demo', '--workdir=run', *FLAGS]
  text = launched(*run)
  expect('trained, greedy' in text, text)
  text = launched(*run, '--config.train.steps=96')
  expect('from step 64' in text and 'trained, greedy' in text, text)
  text = launched('--mode=evaluate', '--workdir=run')
  expect('trained, greedy' in text, text)
  return 'dreamer-nnx --config=demo trains, resumes and evaluates'


def opened() -> str:
  """The Python front door trains, evaluates, acts and dreams."""
  for name, program in PROGRAMS.items():
    expect(len(program.strip().splitlines()) <= LINES, name)
    ran([sys.executable, '-I', '-c', program])
  expect(ran([sys.executable, '-I', '-c', ALONE]).split()[-1] == 'False', ALONE)
  try:
    _ = dreamer_nnx.load_polcy
  except AttributeError as error:
    expect("Did you mean 'load_policy'?" in str(error), error)
  return f'Python: {", ".join(PROGRAMS)}'


def launched(*argv: str, status: int = 0) -> str:
  """What the program prints."""
  cache = f'--compilation_cache={BIN.parent / "xla"}'
  return ran([str(BIN / 'dreamer-nnx'), cache, *argv], status)


def ran(command: list[str], status: int = 0) -> str:
  """What a process prints; it has to end with the status."""
  done = subprocess.run(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    timeout=LIMIT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )
  expect(done.returncode == status, f'{command}: {done}\n{done.stdout}')
  return done.stdout


def expect(good: bool, found: object) -> None:
  """Raises an error with what was found, where that is not good."""
  if not good:
    raise AssertionError(str(found))


if __name__ == '__main__':
  main(*sys.argv[1:])
