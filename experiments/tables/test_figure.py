"""Curves: what is averaged, and that they are drawn."""

import sys

import numpy as np
import pytest

from experiments.jobs.logs import Run
from experiments.tables import figure
from experiments.tables.published import Curve


def run(seed, frames, returns):
  frames = np.array(frames, float)
  return Run(
    task='a',
    seed=seed,
    frames=frames,
    returns=np.array(returns, float),
    counts=np.ones_like(frames),
    last=frames[-1],
    logs={},
    greedy=np.nan,
    config={},
  )


def test_band_is_over_runs(monkeypatch):
  monkeypatch.setattr(figure, 'BINS', 4)
  ones = np.ones
  frames, mean, deviation = figure.band(
    [
      (np.array([20.0, 25.0, 100.0]), np.array([1.0, 3.0, 8.0]), ones(3)),
      (np.array([25.0, 50.0]), np.array([4.0, 6.0]), ones(2)),
    ]
  )
  assert frames.tolist() == [25, 50, 75, 100]
  # The first has 2, 2, 2, 8, the second 4, 6 and then no more.
  assert mean.tolist() == [3, 4, 2, 8]
  assert deviation.tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize('form', ['png', 'svg'])
def test_curves_are_drawn(tmp_path, form):
  pytest.importorskip('matplotlib', reason='matplotlib is not installed')
  curve = Curve('a', '0', np.array([5.0, 50.0]), np.array([0.0, 9.0]))
  runs = [run(0, [10, 40], [1, 2]), run(1, [20, 40], [2, 4])]
  lines = figure.Lines(runs, {'dreamerv3': [curve], 'other': []})
  path = tmp_path / f'curves.{form}'
  assert str(path) in figure.draw(lines, path)
  data = path.read_bytes()
  assert len(data) > 5_000
  assert b'PNG' in data[:8] if form == 'png' else b'<svg' in data


def test_without_matplotlib_it_says_what_is_needed(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  monkeypatch.setitem(sys.modules, 'matplotlib.backends', None)
  lines = figure.Lines([run(0, [10], [1])], {})
  said = figure.draw(lines, tmp_path / 'a.png')
  assert 'pip install matplotlib' in said and not list(tmp_path.iterdir())
