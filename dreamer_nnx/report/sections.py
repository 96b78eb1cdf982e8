"""The parts of a page: plain data, with all text as text and never as HTML."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from dreamer_nnx.report.videos import Video

STEPS, FRAMES, HOURS = 'environment steps', 'frames', 'hours'


@dataclasses.dataclass(frozen=True)
class Series:
  """One curve, or what else is drawn of one run.

  Args:
    label: Its entry in the legend; what has the same label looks the same.
    x: Name of an axis to the values on it, (N,). The page switches between
      axes; the first one is shown.
    y: (N,); a line is broken where it is NaN.
    low, high: Ends of a band about a line, (N,).
    seed: A number that the tooltip tells, if it is not negative.
    mark: How it is drawn.
  """

  label: str
  x: Mapping[str, np.ndarray]
  y: np.ndarray
  low: np.ndarray | None = None
  high: np.ndarray | None = None
  seed: int = -1
  mark: Literal['line', 'dashes', 'points', 'bars'] = 'line'


@dataclasses.dataclass(frozen=True)
class Chart:
  """A chart. All its series have the same axes.

  Args:
    title: Shown above it.
    series: What is drawn, the first one below the others.
    note: A line below the title.
    log: Whether the vertical axis is logarithmic.
  """

  title: str
  series: Sequence[Series]
  note: str = ''
  log: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of texts; numbers are aligned by the page."""

  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  title: str = ''
  # Whether it is shown only when its title is clicked on.
  folded: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of the page with a heading.

  Args:
    text: Paragraphs, one a line.
    warnings: Sentences that are shown at the head of the page, too.
  """

  title: str
  text: str = ''
  charts: Sequence[Chart] = ()
  tables: Sequence[Table] = ()
  videos: Sequence[Video] = ()
  warnings: Sequence[str] = ()

  def of(self, run: str) -> 'Section':
    """The same, named after a run."""
    return dataclasses.replace(self, title=f'{self.title}: {run}')
