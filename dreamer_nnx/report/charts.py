"""Charts drawn by Bokeh, whose JavaScript comes with its package.

Nothing of a run but numbers and the labels of series gets into what Bokeh is
given; titles and legends are of the page, which escapes them.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.models.glyphs import Line, Scatter, VArea, VBar
from bokeh.plotting import figure
from bokeh.resources import Resources

from dreamer_nnx.report.sections import Chart, Series

# Readable on white and on black; further labels begin again.
COLORS = (
  '#3b82c4', '#e07b39', '#3a9d5d', '#b65fcf', '#c9a227', '#d9534f', '#2aa5a0',
  '#8c8c8c',
)  # fmt: skip
HEIGHT = 240
TOOLS = 'xpan,box_zoom,reset,save'
# How far bars reach to both sides, of the distance between two.
BAR = 0.8
# A line of no more points has dots at them.
FEW = 40


def script() -> str:
  """The JavaScript that draws the charts."""
  return '\n'.join(Resources('inline', components=['bokeh']).js_raw)


def colors(labels: Sequence[str]) -> dict[str, str]:
  """A colour for each label."""
  return dict(zip(labels, itertools.cycle(COLORS), strict=False))


def item(chart: Chart, color: Mapping[str, str]) -> dict[str, Any]:
  """Describes a chart to Bokeh, JSON-able.

  The column of the horizontal axis is `x0`; `x1` and others are for the axes
  that the page can switch to.
  """
  axes = axes_of(chart)
  made = figure(
    height=HEIGHT,
    sizing_mode='stretch_width',
    x_axis_label=axes[0],
    y_axis_type='log' if chart.log else 'linear',
    tools=TOOLS,
    toolbar_location='above',
    toolbar_inner=True,
    background_fill_color=None,
    border_fill_color=None,
    outline_line_color=None,
  )
  made.toolbar.logo, made.toolbar.autohide = None, True
  made.xaxis.formatter = NumeralTickFormatter(format='0.[000]a')
  looks = dict.fromkeys((each.label, each.mark) for each in chart.series)
  for label, mark in looks:
    alike = [x for x in chart.series if (x.label, x.mark) == (label, mark)]
    _draw(made, alike, color[label])
  return json_item(made)


def axes_of(chart: Chart) -> list[str]:
  """The axes that a chart can be drawn over."""
  return list(chart.series[0].x) if chart.series else ['']


def _draw(made: figure, alike: Sequence[Series], color: str) -> None:
  """Draws series of one label with one glyph, or two where there is a band."""
  label, mark = alike[0].label, alike[0].mark
  source = ColumnDataSource(_columns(alike))
  if 'low' in source.data:
    area = VArea(x='x0', y1='low', y2='high', fill_color=color, fill_alpha=0.18)
    made.add_glyph(source, area, level='underlay')
  if mark == 'line' and max(len(series.y) for series in alike) <= FEW:
    made.add_glyph(source, _glyph('points', source.data['x0'], color))
  glyph = _glyph(mark, source.data['x0'], color)
  drawn = made.add_glyph(source, glyph, name=label)
  told = [('', '$name'), ('value', '@y'), ('at', '@x0{0,0.[00]}')]
  if 'seed' in source.data:
    told.insert(1, ('seed', '@seed'))
  made.add_tools(HoverTool(renderers=[drawn], tooltips=told, visible=False))


def _glyph(mark: str, x: np.ndarray, color: str) -> Any:
  if mark == 'points':
    return Scatter(x='x0', y='y', fill_color=color, line_color=None, size=5)
  if mark == 'bars':
    steps = np.diff(np.unique(x))
    width = BAR * float(steps.min()) if len(steps) else BAR
    return VBar(x='x0', top='y', width=width, fill_color=color, line_color=None)
  dash = 'dashed' if mark == 'dashes' else 'solid'
  return Line(x='x0', y='y', line_color=color, line_width=1.5, line_dash=dash)


def _columns(alike: Sequence[Series]) -> dict[str, np.ndarray]:
  """The columns of series one after the other, with a gap between them."""
  columns = {
    f'x{i}': [s.x[name] for s in alike] for i, name in enumerate(alike[0].x)
  }
  columns['y'] = [series.y for series in alike]
  if all(series.low is not None for series in alike):
    columns['low'] = [series.low for series in alike]
    columns['high'] = [series.high for series in alike]
  if any(series.seed >= 0 for series in alike):
    columns['seed'] = [np.full(len(s.y), s.seed) for s in alike]
  # A line is broken where y is NaN, whatever x is.
  gaps = {
    name: np.nan if name in ('y', 'low', 'high') else 0 for name in columns
  }
  return {
    name: _compact(np.concatenate(_with_gaps(parts, gaps[name])))
    for name, parts in columns.items()
  }


def _with_gaps(parts: Sequence[np.ndarray], gap: float) -> list[np.ndarray]:
  between = [[part, np.array([gap])] for part in parts]
  return list(itertools.chain(*between))[:-1]


def _compact(values: np.ndarray) -> np.ndarray:
  """The same numbers in 4 bytes each, where these are enough to draw them."""
  whole = np.all(np.mod(values, 1) == 0) and np.all(np.abs(values) < 2**31)
  if whole:
    return values.astype(np.int32)
  fits = np.all(~(np.abs(values) > 1e37))
  return values.astype(np.float32 if fits else np.float64)
