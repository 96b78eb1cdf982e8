"""What is said where the packages of a suite are missing."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from dreamer_nnx.envs import packages
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

ROOT = Path(__file__).resolve().parents[2]
WHERE = "config.env.name = 'crafter'"


def installed(monkeypatch, **versions):
  def version(name):
    if name not in versions:
      raise importlib.metadata.PackageNotFoundError(name)
    return versions[name]

  monkeypatch.setattr(importlib.metadata, 'version', version)


def test_the_extras_are_those_of_the_project():
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  extras = project['optional-dependencies']
  # Those of older pips are not found with underscores.
  assert not [name for name in extras if '_' in name]
  for name, lines in packages.NEEDED.items():
    stated = [line.partition(';')[0].strip() for line in extras[name]]
    assert [x for x in stated if x in lines] == list(lines), name


def test_a_missing_package_is_one_line(monkeypatch):
  installed(monkeypatch, crafter='1.8.3')
  with pytest.raises(UserError) as caught:
    packages.load('crafter', 'crafter', WHERE)
  assert str(caught.value) == (
    "config.env.name = 'crafter' needs: pip install crafter numba (in a "
    "checkout: pip install -e '.[crafter]'). Here numba is not installed."
  )


@pytest.mark.parametrize('name', ['bsuite', 'crafter', 'minatar', 'minigrid'])
def test_the_message_is_all_that_is_said(monkeypatch, name):
  installed(monkeypatch)
  with pytest.raises(UserError) as caught:
    make_vector_env(Choice(ENV, name), 2, 0)
  start = f"config.env.name = '{name}' needs: pip install {name}"
  assert str(caught.value).startswith(start)


def test_a_version_that_does_not_work_is_named(monkeypatch):
  installed(monkeypatch, dm_control='1.0.50', mujoco='4.0.0')
  with pytest.raises(UserError) as caught:
    packages.check('dmc', "config.env.name = 'dmc'")
  assert str(caught.value).endswith('Here mujoco is 4.0.0.')
  assert "pip install dm_control 'mujoco>=3.17,<4'" in str(caught.value)


@pytest.mark.parametrize(
  ('extra', 'version', 'asked'),
  [
    ('atari', '0.10.1', "'ale-py>=0.12'"),
    ('crafter', '1.8.1', "'crafter>=1.8.3' numba"),
    ('minigrid', '2.3.1', "'minigrid>=3'"),
  ],
)
def test_a_package_that_is_too_old_is_asked_for_in_a_version(
  monkeypatch, extra, version, asked
):
  name = packages.Requirement(packages.NEEDED[extra][0]).name
  installed(monkeypatch, numba='0.60', **{name: version})
  with pytest.raises(UserError) as caught:
    packages.check(extra, WHERE)
  assert f' needs: pip install {asked} (in a checkout: ' in str(caught.value)
  assert str(caught.value).endswith(f'Here {name} is {version}.')


def test_a_package_that_does_not_import_says_why(monkeypatch):
  installed(monkeypatch, envpool='1.2.5')
  with pytest.raises(UserError, match='libnone is installed but cannot be'):
    packages.load('libnone', 'procgen', "config.env.name = 'procgen'")


def test_what_is_there_is_imported(monkeypatch):
  installed(monkeypatch, minigrid='3.2.0')
  assert packages.load('json', 'minigrid', WHERE).loads('1') == 1
