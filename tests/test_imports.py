"""What importing has no effect on, and what an installation contains."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
# For Python 3.11, and for later ones.
LOCKS = ('requirements.lock', 'requirements-newest.lock')
PYTHONS = ('3.11', '3.12', '3.13', '3.14')
PIN = re.compile(r'([a-z0-9.-]+)==([A-Za-z0-9.+!]+)(?: ; python_.*)?')

# Libraries are imported first, for what they do on import is theirs.
EVERY_MODULE = """
import importlib, os, pkgutil, sys
import flax.nnx, gymnasium, jax, ml_collections, optax, orbax.checkpoint
from absl import flags
environment, settings = dict(os.environ), dict(jax.config.values)

import dreamer_nnx
for module in pkgutil.walk_packages(dreamer_nnx.__path__, 'dreamer_nnx.'):
  if module.name not in ('dreamer_nnx.main', 'dreamer_nnx.launcher_flags'):
    importlib.import_module(module.name)

definers = flags.FLAGS.flags_by_module_dict()
ours = [name for name in definers if name.startswith('dreamer_nnx')]
assert not ours, f'flags are defined by {ours}'
assert os.environ == environment, 'the environment changed'
assert dict(jax.config.values) == settings, 'jax.config changed'
jax.config.update('jax_num_cpu_devices', 2)
assert jax.device_count('cpu') == 2
print(len(definers), 'modules define flags')
"""


def run(program: str) -> subprocess.CompletedProcess:
  """The result of a program run from the root, in a process of its own."""
  return subprocess.run(
    [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True
  )


def pins(lock: str) -> dict[str, str]:
  return dict(PIN.fullmatch(line).groups() for line in lock_lines(lock))


def lock_lines(lock: str) -> list[str]:
  lines = (ROOT / lock).read_text('utf-8').splitlines()
  return [line for line in lines if not line.startswith('#')]


def requirements(*extras: str) -> list[Requirement]:
  """The core requirements and those of extras, nested ones flattened."""
  project = PROJECT['project']
  texts = [] if extras else project['dependencies']
  for extra in extras:
    texts = texts + project['optional-dependencies'][extra]
  found = []
  for requirement in map(Requirement, texts):
    if requirement.name == project['name']:
      found += requirements(*sorted(requirement.extras))
    else:
      found.append(requirement)
  return found


def test_import_of_the_package_imports_no_heavy_library():
  done = run(
    'import sys, dreamer_nnx\n'
    'heavy = {"flax", "gymnasium", "jax", "numpy", "orbax"}\n'
    'print(sorted(heavy & set(sys.modules)))'
  )
  assert done.stdout == '[]\n', done.stderr


def test_import_of_every_module_changes_nothing():
  done = run(EVERY_MODULE)
  assert done.stdout.endswith('modules define flags\n'), done.stderr


def test_configs_import_only_the_package():
  files = sorted((ROOT / 'configs').glob('*.py'))
  assert files
  for file in files:
    for node in ast.walk(ast.parse(file.read_text('utf-8'), str(file))):
      imported = [alias.name for alias in getattr(node, 'names', ())]
      if isinstance(node, ast.ImportFrom):
        imported = [node.module or '']
      if isinstance(node, ast.Import | ast.ImportFrom):
        roots = {name.split('.')[0] for name in imported}
        assert roots == {'dreamer_nnx'}, f'{file.name}:{node.lineno}: {roots}'


def test_wheel_holds_every_folder_of_the_package_and_no_other():
  packages = PROJECT['tool']['setuptools']['packages']
  folders = {
    '.'.join(file.parent.relative_to(ROOT).parts)
    for file in (ROOT / 'dreamer_nnx').rglob('*.py')
  }
  assert sorted(packages) == sorted({*folders, 'dreamer_nnx.configs'})


def test_console_script_names_a_function():
  script = PROJECT['project']['scripts']['dreamer-nnx']
  module, function = script.split(':')
  file = ROOT / (module.replace('.', '/') + '.py')
  tree = ast.parse(file.read_text('utf-8'))
  assert function in {getattr(node, 'name', None) for node in tree.body}


@pytest.mark.parametrize('lock', LOCKS)
def test_lock_is_pins_alone(lock):
  found = [line for line in lock_lines(lock) if not PIN.fullmatch(line)]
  assert not found


@pytest.mark.parametrize('lock', LOCKS)
@pytest.mark.parametrize(
  'requirement', requirements() + requirements('dev'), ids=str
)
def test_lock_pins_what_the_project_asks_for(requirement, lock):
  name = canonicalize_name(requirement.name)
  assert pins(lock)[name] in requirement.specifier


def test_locks_are_the_ends_of_the_range():
  (jax,) = (r for r in requirements() if r.name == 'jax')
  oldest, newest = (pins(lock)['jax'] for lock in LOCKS)
  assert f'>={oldest}' in map(str, jax.specifier)
  major, minor = newest.split('.')[:2]
  assert f'<{major}.{int(minor) + 1}' in map(str, jax.specifier)


def test_pins_are_for_every_release_of_this_python():
  lock = LOCKS[sys.version_info >= (3, 12)]
  first = '.'.join(map(str, (*sys.version_info[:2], 0)))
  asked = {
    x.name: x.metadata['Requires-Python'] or ''
    for x in importlib.metadata.distributions()
    if canonicalize_name(x.name) in pins(lock)
  }
  assert len(asked) > 50
  assert not {k: x for k, x in asked.items() if first not in SpecifierSet(x)}


def test_pythons_are_said_alike():
  project = PROJECT['project']
  said = [
    text.rpartition(' ')[2]
    for text in project['classifiers']
    if re.fullmatch(r'.*:: 3\.\d+', text)
  ]
  assert tuple(said) == PYTHONS
  allowed = SpecifierSet(project['requires-python'])
  minors = [f'3.{minor}' for minor in range(20)]
  assert tuple(x for x in minors if x in allowed) == PYTHONS


@pytest.mark.parametrize('name', ('cuda12', 'cuda13', 'tpu'))
def test_accelerators_are_extras_of_jax(name):
  (found,) = requirements(name)
  assert (found.name, found.extras, str(found.specifier)) == ('jax', {name}, '')


def make_venv(**variables: str) -> str:
  """What `make venv` would do with a Python that says it is another version."""
  given = [f'{name}={value}' for name, value in variables.items()]
  result = subprocess.run(
    ['make', '--dry-run', '--always-make', 'venv', 'VENV=nowhere', *given],
    cwd=ROOT,
    # Without what a make that runs these tests was given.
    env={'PATH': os.environ['PATH']},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  return result.stdout


@pytest.mark.parametrize(
  ('version', 'lock'), [(v, LOCKS[v != '3.11']) for v in PYTHONS]
)
def test_make_installs_the_lock_of_the_python(version, lock):
  said = make_venv(PYTHON=f"printf '%s' {version} #")
  assert f"install --quiet -r {lock} -e '.'\n" in said


def test_make_installs_an_extra_beside_the_lock():
  assert " -e '.[cuda13]'\n" in make_venv(EXTRA='cuda13')
