"""Steps of a run on the axes of charts: as they are, as frames, as hours."""

from collections.abc import Mapping, Sequence

import numpy as np

from dreamer_nnx.report import logs
from dreamer_nnx.report.runs import Run
from dreamer_nnx.report.sections import FRAMES, HOURS, STEPS

ELAPSED = 'time/elapsed'
POINTS = 512


def offered(runs: Sequence[Run]) -> tuple[str, ...]:
  """Axes that all runs know. Frames are left out where they are the steps."""
  axes = [STEPS]
  known = all(logs.FRAMES in run.log.curves for run in runs)
  if known and any(run.repeat != 1 for run in runs):
    axes.append(FRAMES)
  if all(ELAPSED in run.log.curves for run in runs):
    axes.append(HOURS)
  return tuple(axes)


def along(
  run: Run, steps: np.ndarray, axes: Sequence[str]
) -> Mapping[str, np.ndarray]:
  """Values on the axes at some steps of a run."""
  found = {STEPS: steps}
  if FRAMES in axes:
    found[FRAMES] = _at(run, logs.FRAMES, steps)
  if HOURS in axes:
    found[HOURS] = _at(run, ELAPSED, steps) / 3600
  return found


def _at(run: Run, name: str, steps: np.ndarray) -> np.ndarray:
  points = run.log.curves[name].points(POINTS)
  # From the start on, which nothing is logged at.
  known = np.append(0, points.steps), np.append(0, points.values)
  beyond = steps / max(known[0][-1], 1) * known[1][-1]
  return np.where(steps > known[0][-1], beyond, np.interp(steps, *known))
