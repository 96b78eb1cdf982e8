"""Figures of the curves; needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.learning import curves
from experiments.learning.results import Result

COLORS = {'ours': '#c0392b', 'reference': '#2c3e50'}
LABELS = {'ours': 'dreamer_nnx', 'reference': 'danijar/dreamerv3'}
STYLE = {'svg.fonttype': 'none', 'svg.hashsalt': 'learning', 'font.size': 9}


def draw(
  title: str, runs: Mapping[str, Sequence[Result]], steps: int, path: Path
) -> None:
  """Draws the mean over seeds and each seed.

  Args:
    runs: Agent to the results of its seeds.
  """
  import matplotlib as mpl

  mpl.use('svg')
  from matplotlib import pyplot

  x = (np.arange(curves.BINS) + 0.5) * steps / curves.BINS
  with mpl.rc_context(STYLE):
    figure, axes = pyplot.subplots(figsize=(4.8, 3.0), layout='constrained')
    for agent, found in runs.items():
      rows = np.stack([curves.binned(result, steps) for result in found])
      color = COLORS[agent]
      axes.plot(x, rows.T, color=color, linewidth=0.6, alpha=0.4)
      axes.plot(x, rows.mean(0), color=color, linewidth=2, label=LABELS[agent])
    axes.set(title=title, xlabel='environment steps', ylabel='return')
    axes.set(xlim=(0, steps))
    axes.grid(alpha=0.3)
    axes.legend(loc='upper left', frameon=False)
    figure.savefig(path, metadata={'Date': None})
    pyplot.close(figure)
