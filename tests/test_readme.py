"""The documentation does what it says: programs run, commands parse."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import gymnasium
import numpy as np
import pytest
from packaging.requirements import Requirement

from dreamer_nnx import config as configs
from dreamer_nnx import main, spaces
from dreamer_nnx.slots import SLOTS
from dreamer_nnx.training.checkpoint import load_meta
from experiments import sweep
from experiments.pods import launch
from tests import pages
from tests.launcher import CACHE, ROOT, TINY
from tests.pages import PAGES

SERVER = (ROOT / 'dreamer_nnx/templates/env_server.py').read_text('utf-8')
MAKEFILE = (ROOT / 'Makefile').read_text('utf-8')
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))['project']
EXTRAS = PROJECT['optional-dependencies']

# In a process of its own, for plugins stay registered.
PARSE = """
import copy, json, sys
from absl import flags
from dreamer_nnx import config as configs, main, overrides

def complaint(argv):
  values = copy.deepcopy(flags.FLAGS)
  try:
    rest = values(['dreamer-nnx', *argv], known_only=True)
    configs.load_plugins(overrides.plugins_from_argv(rest))
    config = overrides.load_file(values.config or 'configs/demo.py')
    _, *unknown = overrides.override(config, rest)
    configs.resolve(config)
  except (flags.Error, ValueError) as error:
    return str(error)
  return ' '.join(unknown)

json.dump([complaint(argv) for argv in json.load(sys.stdin)], sys.stdout)
"""
PLAY = """
import json, sys
from dreamer_nnx import overrides, workflow

config = overrides.load_file('configs/demo.py')
overrides.override(config, json.load(sys.stdin))
envs = workflow.make_envs(config)
step = envs.reset()
action = {k: [1] * envs.num_envs for k in envs.action_space}
rewards, steps = 0.0, 0
while not step['is_last'].any():
  step, steps = envs.step(action), steps + 1
  rewards += float(step['reward'].max())
envs.close()
print(steps, rewards)
"""
# The demo, tiny: what programs that load `configs/demo.py` find instead.
SMALL = f"""
import runpy
from dreamer_nnx import config as configs

def get_config():
  config = runpy.run_path({str(ROOT / 'configs' / 'demo.py')!r})['get_config']()
  small = {TINY!r}
  small['config.encoder.simple.mults'] = (2,)
  small['config.decoder.simple.mults'] = (2,)
  configs.apply(
    config, {{k.removeprefix('config.'): v for k, v in small.items()}}
  )
  return config
"""


def command(page: str, flag: str) -> list[str]:
  """Arguments of the one launch of a page that has this flag."""
  (found,) = [argv for argv in pages.launches(page) if flag in argv]
  return found


def run(
  argv: list[str],
  folder: pathlib.Path,
  given: str = '',
  cwd: pathlib.Path = ROOT,
) -> subprocess.CompletedProcess:
  """The result of a Python that finds the modules of a folder."""
  # Compiled programs run only briefly here: what counts is compiling fast.
  flags = os.environ.get('XLA_FLAGS', ''), '--xla_backend_optimization_level=0'
  return subprocess.run(
    [sys.executable, *argv],
    cwd=cwd,
    env=os.environ
    | {
      'PYTHONPATH': os.pathsep.join(map(str, (folder, ROOT))),
      'JAX_COMPILATION_CACHE_DIR': str(CACHE),
      'TMPDIR': str(folder),
      'XLA_FLAGS': ' '.join(flags),
    },
    input=given,
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope='module')
def plugins(tmp_path_factory):
  """A folder with the modules that the pages show."""
  folder = tmp_path_factory.mktemp('plugins')
  pages.modules(folder)
  return folder


def load(folder, name):
  spec = importlib.util.spec_from_file_location(name, folder / f'{name}.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_readme_is_short():
  assert len(pages.text('README.md').splitlines()) <= 150


def test_programs_with_a_workdir_run(tmp_path):
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'demo.py').write_text(SMALL, 'utf-8')
  (first,) = pages.programs('README.md')
  *others, _ = pages.programs('docs/python.md')
  program = '\n'.join((first, *others))
  # The demo of the folder is tiny; the one that is shipped is not.
  for shipped, tiny in (("'demo'", "'configs/demo.py'"), ('16, 16,', '8, 8,')):
    assert shipped in program
    program = program.replace(shipped, tiny)
  result = run(['-c', program], tmp_path, cwd=tmp_path)
  assert result.returncode == 0, result.stderr
  steps = re.search(r"'train.steps': ([\d_]+)", first)[1]
  assert load_meta(tmp_path / 'runs' / 'python', int(steps))
  assert "'eval/return'" in result.stdout
  # Of the first program twice, as of the second, and of the third.
  assert result.stdout.count('trained, greedy') == 4
  assert re.search(r'Mean return of \d+ episodes: ', result.stdout)
  assert '(16, 8, 8, 3)' in result.stdout


def test_program_of_single_steps_trains_and_evaluates(tmp_path):
  program = pages.programs('docs/python.md')[-1]
  result = run(['-c', program], tmp_path)
  assert result.returncode == 0, result.stderr
  said = re.search(r'Return after (\d+) updates: .* over 4 ', result.stdout)
  assert said, result.stdout
  assert int(said[1]) > 0
  assert list(tmp_path.glob('*/replay')), 'the workdir is not in TMPDIR'


def test_launches_parse(plugins):
  given = [argv for page in PAGES for argv in pages.launches(page)]
  given = [argv for argv in given if argv != ['--help']]
  given += [x.removeprefix('ARGS=').split() for x in make_values('ARGS')]
  given += [
    [re.sub('=[A-Z]+$', '=1', word)]
    for page in PAGES
    for words in pages.commands(page)
    if 'experiments.benchmarks' in ' '.join(words)
    for word in words
    if word.startswith('--config.')
  ]
  broken = [
    ['--mode=shwo'],
    ['--worksdir=runs/track'],
    ['--config=configs/nothing.py'],
    ['--config=configs/demo.py:13m'],
    ['--config.encoder.flat.units=256'],
    ['--config.plugins=flat_encoder', '--config.encoder.flat.unit=256'],
  ]
  # Plugins stay: what has to fail without one comes before it.
  asked = json.dumps([*broken, *given])
  result = run(['-c', PARSE], plugins, asked)
  assert result.returncode == 0, result.stderr
  complaints = json.loads(result.stdout)
  refused, accepted = complaints[: len(broken)], complaints[len(broken) :]
  assert all(refused), refused
  assert len(accepted) == len(given) > 25
  assert not any(accepted), [
    pair for pair in zip(given, accepted, strict=True) if pair[1]
  ]


def make_values(name: str) -> list[str]:
  """`NAME=value` wherever a page gives it to make."""
  return [
    word
    for page in PAGES
    for line in [*map(' '.join, pages.commands(page)), *pages.code(page)]
    if line.startswith('make ')
    for word in line.split()
    if word.startswith(f'{name}=')
  ]


def check_make(words: list[str]) -> None:
  """Fails for a target or a variable that the Makefile does not have."""
  for word in words:
    name, is_value, value = word.partition('=')
    if is_value:
      assert re.search(rf'^{name} \?=', MAKEFILE, re.MULTILINE), word
    else:
      assert re.search(rf'^{word}:', MAKEFILE, re.MULTILINE), word
    assert name != 'EXTRA' or value in EXTRAS, word


def check_command(words: list[str]) -> None:
  """Fails for a command of no kind that is known here, or that cannot run."""
  match words:
    case ['make', *rest]:
      check_make(rest)
    case ['python', '-m', 'dreamer_nnx.main', *_]:
      pass  # `test_launches_parse`
    case ['pip', 'install', *packages]:
      assert [Requirement(x) for x in packages if not x.startswith('--')]
    case ['git', 'clone', *_] | ['git', '-C', _, 'checkout', _]:
      pass  # Of what is not of this project.
    case ['python', '-m', 'dreamer_nnx.testing', 'new', slot, name, *rest]:
      known = {slot.name for slot in SLOTS}
      assert slot in known and name.isidentifier(), words
      assert not rest or (slot, rest) == ('env', ['--remote']), words
    case ['python3', 'my_robot_server.py', *options]:
      flags = [x for x in options if x.startswith('--')]
      assert all(f"'{x}'" in SERVER for x in flags), words
    case ['python', '-m', 'tests.parity', *fixtures]:
      assert all((ROOT / fixture).is_file() for fixture in fixtures), words
    case ['python', '-m', 'experiments.pods.launch', *argv]:
      assert launch.prepare(argv)[1]
    case ['python', '-m', 'experiments.sweep', *argv]:
      assert sweep.main(['--list', *argv]) == 0, words
    case ['python', '-m', module, *_] if module.startswith('experiments.'):
      assert importlib.util.find_spec(module), module
    case _:
      pytest.fail(f'{words} is of no kind that is checked')


@pytest.mark.parametrize('page', PAGES)
def test_commands_are_checked(page):
  for words in pages.commands(page):
    check_command(words)
  for line in pages.code(page, 'make '):
    check_make(re.sub(r"'[^']*'|\.\.\.", '', line).split()[1:])
  for extra in re.findall(r"\.\[(\w+)\]'", pages.text(page)):
    assert extra in EXTRAS, extra


def test_the_readme_has_the_two_commands():
  words = [x for x in pages.commands('README.md') if x[0] == 'make']
  assert ['make', 'demo'] in words and ['make', 'test'] in words


def test_check_of_commands_can_fail():
  for line in (
    'make dmeo',
    'make venv EXTAR=cuda13',
    'make venv EXTRA=cuda14',
    'python -m tests.parity tests/fixtures/nothing.json',
    'python -m dreamer_nnx.testing new encodr mine',
    'python -m dreamer_nnx.testing new encoder mine --remote',
    'python3 my_robot_server.py --lisen 127.0.0.1:7000',
    'python -m experiments.benchmarks.sped 1m image',
    'python -m experiments.pods.launch tpu v5e:4x3 --workdir=gs://a/b --',
    'python -m experiments.sweep --root=runs/a --config=demo --set=config.a=1',
    'rm -r runs',
  ):
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
      check_command(line.split())


@pytest.mark.parametrize(
  'name',
  (
    'README.md',
    pytest.param('docs/components.md', marks=pytest.mark.whole),
  ),
)
def test_component_is_trained_by_its_command(plugins, tmp_path, name):
  (argv,) = [
    argv for argv in pages.launches(name) if '--config.plugins=' in str(argv)
  ]
  module = re.search(r'--config.plugins=(\w+)', ' '.join(argv))[1]
  part = module.removesuffix('_encoder')
  workdir = tmp_path / part
  tiny = [f'--{name}={value}' for name, value in TINY.items()]
  main = ['-m', 'dreamer_nnx.main', f'--compilation_cache={CACHE}']
  argv = [*main, *argv, *tiny, '--mode=train', f'--workdir={workdir}']
  argv = [x for x in argv if 'config.encoder.simple' not in x]
  result = run(argv, plugins)
  assert result.returncode == 0, result.stderr
  meta = load_meta(workdir)
  assert meta['counters']['updates'] > 0
  assert meta['config']['encoder']['name'] == part
  assert meta['config']['encoder'][part]['units'] == 256
  argv = [*main, '--mode=evaluate', f'--workdir={workdir}']
  result = run(argv, plugins)
  assert result.returncode == 2, result.stdout
  assert f"config.plugins = ('{module}',)" in result.stderr
  result = run([*argv, f'--config.plugins={module}'], plugins)
  assert result.returncode == 0, result.stderr
  assert 'greedy' in result.stdout


def test_component_is_found_by_module_and_attribute(plugins):
  flag = '--config.encoder.name=dense_encoder:DenseEncoder'
  argv = command('docs/components.md', flag)
  result = run(['-m', 'dreamer_nnx.main', *argv, '--mode=show'], plugins)
  assert result.returncode == 0, result.stderr
  # 16 x 16 pixels of 3 colours, and the units of the command.
  assert re.search(r'encoder/dense/linear/kernel +768x256', result.stdout)


def test_limits_of_the_component_are_checked(plugins):
  argv = command('docs/components.md', '--config.plugins=dense_encoder')
  for field, value in (('units', '0'), ('act', 'sliu')):
    bad = f'config.encoder.dense.{field}'
    asked = [*argv, f'--{bad}={value}', '--mode=show']
    result = run(['-m', 'dreamer_nnx.main', *asked], plugins)
    assert result.returncode == 2, result.stdout
    assert result.stderr.startswith(f'{bad} = '), result.stderr
    assert f'{value}' in result.stderr
    assert 'Traceback' not in result.stderr


def test_environment_is_played_by_its_command(plugins):
  flag = '--config.env.custom.arguments=length=16'
  argv = command('docs/environments.md', flag)
  asked = json.dumps([x for x in argv if x.startswith('--config.env.')])
  result = run(['-c', PLAY], plugins, asked)
  assert result.returncode == 0, result.stderr
  # As long as the command says, and a reward at the end.
  assert result.stdout.split() == ['16', '1.0']


def test_stacks_of_gymnasium_are_images_as_is_said():
  space = gymnasium.spaces.Box(0, 1, (5, 4, 3), np.float32)
  stacked = gymnasium.spaces.Box(0, 1, (4, 5, 4, 3), np.float32)
  for given, channels in ((space, 3), (stacked, 12)):
    read = spaces.normalize(given, 'config.env', 'vector').spaces['image']
    assert read.shape == (5, 4, channels) and read.dtype == np.uint8


@pytest.mark.parametrize('page', [*PAGES, 'CHANGELOG.md'])
def test_links_lead_somewhere(page):
  assert [x for x in pages.links(page) if pages.broken(page, x)] == []


def test_check_of_links_can_fail():
  assert pages.broken('README.md', 'docs/nothing.md')
  assert pages.broken('README.md', 'docs/launcher.md#nothing')
  assert pages.broken('docs/launcher.md', 'docs/launcher.md')
  assert not pages.broken('docs/launcher.md', 'checkpoints.md')
  assert not pages.broken('docs/launcher.md', '#resume')


@pytest.mark.parametrize('page', PAGES)
def test_files_that_are_named_exist(page):
  pattern = r'(?:dreamer_nnx|tests|configs|docs|experiments)/[\w/.]+'
  found = [x for x in pages.code(page) if re.fullmatch(pattern, x)]
  assert [x for x in found if not (ROOT / x).exists()] == []
  assert found or page != 'WORKSPACE.md'


@pytest.mark.parametrize('page', PAGES)
def test_fields_and_flags_that_are_named_exist(page):
  """Such as `train.save_every`, `config.mesh` and `--restore_step`."""
  config = configs.base()
  for word in pages.code(page):
    name = re.match(r'(?:--(?:no)?)?((?:\w+\.)+\w+)(?:=.*)?$', word)
    path = name[1].removeprefix('config.') if name else ''
    # Files, and what the module of this name has.
    if path == 'py' or (path != word and hasattr(configs, path)):
      continue
    if path.split('.')[0] in config or (name and path != name[1]):
      assert exists(config, path), f'{page}: {word}'
    elif page.startswith(('README', 'docs/')) and word.startswith('--'):
      flag = re.match(r'--(\w+)', word)[1]
      assert flag in main.flags.FLAGS, f'{page}: {word}'


def exists(config: configs.ConfigDict, path: str) -> bool:
  """Whether the config has this field, or a group of fields."""
  for part in path.split('.'):
    if not isinstance(config, configs.ConfigDict) or part not in config:
      return False
    config = config[part]
  return True
