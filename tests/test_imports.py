"""What importing has no effect on, and what an installation contains."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
LOCK = (ROOT / 'requirements.lock').read_text('utf-8')
PIN = re.compile(r'([a-z0-9.-]+)==([A-Za-z0-9.+!]+)')

# Libraries are imported first, for what they do on import is theirs.
EVERY_MODULE = """
import importlib, os, pkgutil, sys
import flax.nnx, gymnasium, jax, ml_collections, optax, orbax.checkpoint
from absl import flags
environment, settings = dict(os.environ), dict(jax.config.values)

import dreamer_nnx
for module in pkgutil.walk_packages(dreamer_nnx.__path__, 'dreamer_nnx.'):
  if module.name != 'dreamer_nnx.main':
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


def pins() -> dict[str, str]:
  return dict(PIN.fullmatch(line).groups() for line in lock_lines())


def lock_lines() -> list[str]:
  return [line for line in LOCK.splitlines() if not line.startswith('#')]


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
  find = PROJECT['tool']['setuptools']['packages']['find']
  packages = setuptools.find_packages(str(ROOT), **find)
  folders = {
    '.'.join(file.parent.relative_to(ROOT).parts)
    for file in (ROOT / 'dreamer_nnx').rglob('*.py')
  }
  assert set(packages) == folders


def test_console_script_names_a_function():
  script = PROJECT['project']['scripts']['dreamer-nnx']
  module, function = script.split(':')
  file = ROOT / (module.replace('.', '/') + '.py')
  tree = ast.parse(file.read_text('utf-8'))
  assert function in {getattr(node, 'name', None) for node in tree.body}


def test_lock_is_pins_alone():
  found = [line for line in lock_lines() if not PIN.fullmatch(line)]
  assert not found


@pytest.mark.parametrize(
  'requirement', requirements() + requirements('dev'), ids=str
)
def test_lock_pins_what_the_project_asks_for(requirement):
  name = canonicalize_name(requirement.name)
  assert pins()[name] in requirement.specifier
