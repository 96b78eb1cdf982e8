"""Curves of this agent beside the reference's, from their kept logs."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dreamer_nnx.errors import UserError
from experiments.learning import curves, results, table
from experiments.learning.results import Result
from experiments.learning.tasks import AGENTS, TASKS

COLORS = {'ours': '#c0392b', 'reference': '#2c3e50'}
LABELS = {'ours': 'dreamer_nnx', 'reference': 'danijar/dreamerv3'}
STYLE = {'svg.fonttype': 'none', 'svg.hashsalt': 'learning', 'font.size': 9}


def files() -> list[str]:
  """Names of the figures."""
  return [table.figure_of(task) for task in table.drawn(results.read_all())]


def make(folder: Path) -> None:
  """Draws a figure of each task that both agents were trained on.

  Raises:
    UserError: There is no matplotlib.
  """
  if not importlib.util.find_spec('matplotlib'):
    raise UserError('need matplotlib: pip install matplotlib.', 'figures')
  folder.mkdir(parents=True, exist_ok=True)
  found = results.read_all()
  for task in table.drawn(found):
    runs = {agent: table.of(found, task, agent) for agent in AGENTS}
    title = TASKS[task].title.replace('`', '')
    draw(title, runs, table.steps_of(task), folder / table.figure_of(task))


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
