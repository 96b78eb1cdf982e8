"""Files of a new component, of each slot, that pass as they are."""

import ast
import subprocess
import sys

import pytest

from dreamer_nnx.slots import SLOTS
from dreamer_nnx.testing import __main__ as program
from dreamer_nnx.testing import new
from dreamer_nnx.testing.new import PATHS

NAMES = [slot.name for slot in SLOTS]


@pytest.mark.parametrize('slot', NAMES)
def test_files_are_written_and_never_over_others(slot, tmp_path, capsys):
  arguments = ['new', slot, f'my_{slot}', '--folder', str(tmp_path)]
  assert program.main(arguments) == 0
  written = sorted(path.name for path in tmp_path.iterdir())
  names = [f'my_{slot}.py', f'my_{slot}_config.py', f'test_my_{slot}.py']
  assert written == sorted(names)
  text = (tmp_path / names[0]).read_text('utf-8')
  assert f"@{slot.upper()}.register('my_{slot}')" in text
  assert 'mine' not in text.lower()
  for name in names:
    ast.parse((tmp_path / name).read_text('utf-8'))
  (tmp_path / names[1]).write_text('kept')
  (tmp_path / names[0]).unlink()
  assert program.main(arguments) == 2
  assert 'exists, and is left as it is' in capsys.readouterr().err
  assert not (tmp_path / names[0]).exists()
  assert (tmp_path / names[1]).read_text() == 'kept'


@pytest.mark.parametrize(
  ('slot', 'name', 'message'),
  [
    ('encodre', 'x', "SLOT = 'encodre': no such name. Did you mean 'encoder'"),
    ('encoder', 'My-Own', "NAME = 'My-Own': must be small letters"),
    ('encoder', 'simple', "NAME = 'simple': is a encoder that there is"),
    ('encoder', 'class', "NAME = 'class': is a word or a module of Python"),
    ('encoder', 'json', "NAME = 'json': is a word or a module of Python"),
    ('env', 'numpy', "NAME = 'numpy': is a word or a module of Python"),
  ],
)
def test_wrong_names_are_refused(slot, name, message, tmp_path, capsys):
  folder = ['--folder', str(tmp_path)]
  assert program.main(['new', slot, name, *folder]) == 2
  assert message in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_every_slot_has_a_place():
  assert set(PATHS) == set(NAMES)


@pytest.mark.slow
def test_new_files_pass_as_they_are(tmp_path):
  for slot in NAMES:
    new.write(slot, f'fresh_{slot}', tmp_path)
  command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
  done = subprocess.run(
    [*command, '--rootdir', '.', '.'],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert f'{2 * len(NAMES)} passed' in done.stdout
