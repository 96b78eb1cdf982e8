"""Draws the curves of runs, with the published ones laid over."""

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamer_nnx import paths
from experiments.jobs.logs import Run
from experiments.tables.published import Curve

NEEDED = 'There are no curves: they need pip install matplotlib.'
BINS = 60
COLUMNS = 5
# Of our runs, and of each method in turn.
COLORS = ('#0022ff', '#ff7700', '#33aa00', '#cc44dd', '#888888', '#00aaaa')
OURS = 'ours'


class Lines(NamedTuple):
  """Our runs, and published curves by method: all that is drawn."""

  runs: Sequence[Run]
  published: Mapping[str, Sequence[Curve]]


class Band(NamedTuple):
  """Mean and standard deviation over runs: at frames, (BINS,)."""

  frames: np.ndarray
  mean: np.ndarray
  deviation: np.ndarray


def draw(lines: Lines, path: Path) -> str:
  """Draws a panel for each task; says where, or what it needs for that."""
  try:
    from matplotlib.backends import backend_agg
    from matplotlib.figure import Figure
  except ModuleNotFoundError:
    return NEEDED
  tasks = list(dict.fromkeys(r.task for r in lines.runs if len(r.frames)))
  if not tasks:
    return 'There are no curves: no episode has ended.'
  columns = min(COLUMNS, len(tasks))
  rows = math.ceil(len(tasks) / columns)
  figure = Figure(figsize=(3 * columns, 2.4 * rows + 0.5))
  backend_agg.FigureCanvasAgg(figure)
  axes = figure.subplots(rows, columns, squeeze=False).flatten()
  for task, axis in zip(tasks, axes, strict=False):
    draw_task(axis, task, lines)
  for axis in axes[len(tasks) :]:
    axis.axis('off')
  names = [OURS, *lines.published]
  figure.legend(
    handles=[
      axes[0].plot([], [], color=color, label=name)[0]
      for name, color in zip(names, itertools.cycle(COLORS), strict=False)
    ],
    loc='lower center',
    ncols=len(names),
    frameon=False,
  )
  figure.tight_layout(rect=(0, 0.4 / figure.get_figheight(), 1, 1))
  drawn = io.BytesIO()
  figure.savefig(drawn, dpi=150, format=path.suffix[1:])
  paths.write(path, drawn.getvalue())
  return f'The curves are in {path}.'


def draw_task(axis: Any, task: str, lines: Lines) -> None:
  """Draws the mean over runs, and one standard deviation around it."""
  own = [run for run in lines.runs if run.task == task and len(run.frames)]
  bands = {OURS: band([(r.frames, r.returns, r.counts) for r in own])}
  for method, curves in lines.published.items():
    found = [
      (c.frames, c.returns, np.ones_like(c.frames))
      for c in curves
      if c.task == task
    ]
    if found:
      bands[method] = band(found)
  names = [OURS, *lines.published]
  colors = dict(zip(names, itertools.cycle(COLORS), strict=False))
  for order, (name, (frames, mean, deviation)) in enumerate(bands.items()):
    color = colors[name]
    axis.plot(frames, mean, color=color, zorder=9 - order, linewidth=1.5)
    axis.fill_between(
      frames, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0
    )
  axis.set_title(task, fontsize=9)
  axis.tick_params(labelsize=7)
  axis.grid(color='#eeeeee')
  axis.set_xlabel('frames', fontsize=7)


def band(curves: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Band:
  """Mean and deviation over curves of (frames, returns, counts), in bins.

  A bin holds episodes; one without any has the mean of the one before.
  """
  end = max(frames[-1] for frames, _, _ in curves)
  edges = np.linspace(0, end, BINS + 1)
  rows = []
  for frames, returns, counts in curves:
    index = np.clip(np.searchsorted(edges, frames) - 1, 0, BINS - 1)
    sums = np.bincount(index, returns * counts, BINS)
    total = np.bincount(index, counts, BINS)
    row = np.divide(sums, total, out=np.full(BINS, np.nan), where=total > 0)
    rows.append(_carried(row, index.max()))
  table = np.array(rows)
  there = np.isfinite(table)
  count = there.sum(0)
  kept = count > 0
  values = np.where(there, table, 0)[:, kept]
  count = count[kept]
  mean = values.sum(0) / count
  square = np.where(there[:, kept], values - mean, 0) ** 2
  return Band(edges[1:][kept], mean, np.sqrt(square.sum(0) / count))


def _carried(row: np.ndarray, last: int) -> np.ndarray:
  """Fills bins without episodes up to the last one that has some."""
  row = row.copy()
  for i in range(1, last + 1):
    if np.isnan(row[i]):
      row[i] = row[i - 1]
  return row
