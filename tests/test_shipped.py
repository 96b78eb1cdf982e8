"""Configs that come with the package are found by name, from anywhere."""

import pytest

from dreamer_nnx import overrides
from dreamer_nnx.nodes import ConfigError
from dreamer_nnx.shipped import find, shipped
from tests.launcher import ROOT


def refusal(name, folder):
  with pytest.raises(ConfigError) as error:
    overrides.load_file(name, folder)
  return str(error.value)


def test_the_names_are_those_of_the_files_in_configs():
  files = {path.stem for path in (ROOT / 'configs').glob('*.py')}
  assert {'demo', 'cartpole'} <= files
  assert list(shipped()) == sorted(files)


@pytest.mark.parametrize('argument', ['', ':12m'])
@pytest.mark.parametrize('name', shipped())
def test_a_name_is_the_config_of_its_file(name, argument, tmp_path):
  file = ROOT / 'configs' / f'{name}.py'
  by_name = overrides.load_file(f'{name}{argument}', tmp_path)
  assert by_name == overrides.load_file(f'{file}{argument}')


def test_a_size_is_that_of_the_argument(tmp_path):
  small, large = (
    overrides.load_file(f'demo:{x}', tmp_path) for x in ('1m', '12m')
  )
  assert small.dynamics.rssm.deter < large.dynamics.rssm.deter


def test_what_ends_in_py_or_has_a_slash_is_a_file(tmp_path):
  for name in ('demo.py', 'demo', 'mine'):
    (tmp_path / name).write_text('', 'utf-8')
  ours = ROOT / 'configs' / 'demo.py'
  assert find('demo', tmp_path) == find('demo:12m', tmp_path) == ours
  assert find('demo.py', tmp_path) == tmp_path / 'demo.py'
  assert find('./demo', tmp_path) == tmp_path / 'demo'
  assert find('mine:x', tmp_path) == tmp_path / 'mine'


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('dmeo', "no config of this name is shipped. Did you mean 'demo'?"),
    ('Demo:1m', "no config of this name is shipped. Did you mean 'demo'?"),
    ('xyzzy', f'is shipped. Shipped: {", ".join(shipped())}. The path of a'),
    (
      'configs/demo.py:12m',
      "there is no file 'configs/demo.py'. The one that is shipped is "
      '--config=demo:12m.',
    ),
    ('demo.py', 'The one that is shipped is --config=demo.'),
    ('a/dmeo.py', "there is no file 'a/dmeo.py'. Did you mean 'demo'?"),
    ('a/xyzzy.py', "there is no file 'a/xyzzy.py'."),
  ],
)
def test_what_is_not_there_is_said_with_what_is(name, message, tmp_path):
  found = refusal(name, tmp_path)
  assert found.startswith(f'--config = {name!r}: ')
  assert message in found
