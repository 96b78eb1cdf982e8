"""The configs here: each builds its agent for its own game, and is saved."""

import json
import re

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from experiments.variants import scripted, toys

FOLDER = toys.CONFIGS.parent
NAMES = sorted(file.stem for file in toys.CONFIGS.glob('*.py'))
# What a component may import from the package, beside its contracts.
PUBLIC = re.compile(
  r'dreamer_nnx(\.(contracts|errors|registry|schema|signatures|slots|spaces'
  r'|streams|(acting|nn|numerics)\.\w+|replay\.(chunks|weights)))?'
)


@pytest.mark.parametrize('name', NAMES)
def test_a_config_builds_its_agent_and_replay(name, tmp_path, monkeypatch):
  # Where the config of cloning looks for demonstrations.
  monkeypatch.chdir(tmp_path)
  scripted.write(tmp_path / 'runs' / 'demonstrations', 12)
  config = overrides.load_file(str(toys.CONFIGS / f'{name}.py'))
  text = configs.to_json(config)
  again = configs.from_json(text, trust_config=True)
  assert json.loads(configs.to_json(again)) == json.loads(text)
  envs = workflow.make_envs(config)
  spaces = envs.obs_space, envs.action_space
  learner = workflow.make_learner(config, *spaces)
  replay = workflow.make_replay(config, *spaces, learner)
  assert replay.context == learner.layout.context
  envs.close()


def components():
  """Paths of the components here."""
  return sorted(
    file
    for file in FOLDER.glob('*.py')
    if re.search(r'^@[A-Z]+\.register', file.read_text('utf-8'), re.M)
  )


@pytest.mark.parametrize('file', components(), ids=lambda file: file.stem)
def test_a_component_is_short_and_public(file):
  text = file.read_text('utf-8')
  assert len(text.splitlines()) <= 150
  modules = re.findall(r'^(?:from|import) (dreamer_nnx[\w.]*)', text, re.M)
  assert modules and all(PUBLIC.fullmatch(name) for name in modules)
  assert not re.search(r'(?<!self)\._[a-z]', text)
  assert re.search(r'Source: [\w ]+ et al\. \d{4}, arXiv \d{4}\.\d{5}', text)


def test_every_component_is_in_a_config():
  assert {file.stem for file in components()} <= set(NAMES)
