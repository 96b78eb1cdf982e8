"""Every figure of the documentation has a program that makes it."""

import sys

import pytest

from experiments.figures import __main__ as figures
from experiments.figures import openloop
from experiments.jobs import runs

# Drawn by hand: it shows no run.
DRAWN = 'agent.svg'
SUFFIXES = {'.gif', '.jpg', '.mp4', '.pdf', '.png', '.svg'}
SCRIPT = """
import pathlib, sys
workdir = pathlib.Path(sys.argv[1])
(workdir / 'videos').mkdir(parents=True)
(workdir / 'checkpoints' / sys.argv[2]).mkdir(parents=True)
for step in (2_000, 8_000):
  name = f'report_openloop_image_{step:010d}.gif'
  (workdir / 'videos' / name).write_text(str(step))
"""


def test_every_figure_is_made_by_one():
  made = [file for x in figures.FIGURES.values() for file in x.files()]
  there = [x.name for x in figures.FOLDER.rglob('*') if x.suffix in SUFFIXES]
  there.remove(DRAWN)
  assert sorted(made) == sorted(there), 'python -m experiments.figures'


def test_list(tmp_path, capsys):
  argv = ['--list', f'--folder={tmp_path}']
  assert figures.main(argv) == 0
  out = capsys.readouterr().out
  assert 'openloop: openloop.gif\n' in out and not list(tmp_path.iterdir())
  with pytest.raises(SystemExit, match='2'):
    figures.main(['nothing'])


def test_curves_are_drawn(tmp_path):
  pytest.importorskip('matplotlib')
  assert figures.main(['learning', f'--folder={tmp_path}']) == 0
  files = figures.FIGURES['learning'].files()
  assert sorted(x.name for x in tmp_path.iterdir()) == sorted(files)
  for file in files:
    text = (tmp_path / file).read_text()
    assert 'dreamer_nnx' in text and 'danijar/dreamerv3' in text


def test_a_run_without_videos_is_an_error(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(openloop, 'Launcher', lambda count: lambda jobs: 1)
  monkeypatch.setattr(openloop, 'RUNS', tmp_path / 'runs')
  assert figures.main(['openloop', f'--folder={tmp_path / "made"}']) == 1
  assert 'has no videos/report_openloop' in capsys.readouterr().err
  assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('end', [8_000, 4_000])
def test_video_is_the_last_of_the_demo(tmp_path, monkeypatch, capsys, end):
  command = lambda config, workdir, *_: [
    *(sys.executable, '-c', SCRIPT, str(workdir), str(end))
  ]
  monkeypatch.setattr(runs, 'command', command)
  monkeypatch.setattr(openloop, 'RUNS', tmp_path / 'runs')
  status = figures.main(['openloop', f'--folder={tmp_path}'])
  assert (status, (tmp_path / 'openloop.gif').exists()) == (
    (0, True) if end == 8_000 else (1, False)
  )
  if status:
    assert 'not trained to the end' in capsys.readouterr().err
    return
  assert (tmp_path / 'openloop.gif').read_text() == '8000'
