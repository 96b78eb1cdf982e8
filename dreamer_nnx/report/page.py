"""The page: sections as one HTML file that needs nothing else."""

import base64
import dataclasses
import importlib.resources
import secrets
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from dreamer_nnx import versions
from dreamer_nnx.report import charts
from dreamer_nnx.report.sections import Chart, Section
from dreamer_nnx.report.videos import Video

FOLDER = 'dreamer_nnx.report'


@dataclasses.dataclass(frozen=True)
class Page:
  """All that a page says.

  Args:
    warnings: Sentences at its head.
    notes: Sentences below them, on what was left out.
    sections: In order.
    labels: Of groups, in the order of their colours.
  """

  title: str
  warnings: Sequence[str]
  notes: Sequence[str]
  sections: Sequence[Section]
  labels: Sequence[str]


def render(page: Page) -> str:
  """The HTML of a page. All text of it is escaped."""
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  # In the order that it is in, for Bokeh defines a thing where it first is.
  compact = {'sort_keys': False, 'separators': (',', ':')}
  environment.policies['json.dumps_kwargs'] = compact
  environment.filters |= {'data': _data_uri, 'numeric': _is_number}
  drawn = _Drawn(page.labels)
  return environment.from_string(_text('page.html')).render(
    page=page,
    draw=drawn.draw,
    legend=drawn.legend,
    # Only scripts with this mark are run, and nothing is loaded.
    nonce=secrets.token_urlsafe(16),
    library=_script(charts.script()),
    program=_script(_text('page.js')),
    style=Markup(_text('page.css')),
    version=versions.PACKAGE,
  )


class _Drawn:
  """Charts as the template needs them."""

  def __init__(self, labels: Sequence[str]):
    self._labels = list(labels)

  def draw(self, chart: Chart) -> dict[str, Any]:
    """Data of a chart, its axes, and its legend: pairs of label and colour."""
    own = dict.fromkeys(series.label for series in chart.series)
    color = charts.colors(list(dict.fromkeys((*self._labels, *own))))
    return {
      'item': charts.item(chart, color),
      'axes': charts.axes_of(chart),
      # Groups are in the legend of the page.
      'legend': [(x, color[x]) for x in own if x and x not in self._labels],
    }

  @property
  def legend(self) -> list[tuple[str, str]]:
    """The groups with their colours."""
    return list(charts.colors(self._labels).items())


def _text(name: str) -> str:
  return (importlib.resources.files(FOLDER) / name).read_text('utf-8')


def _script(text: str) -> Markup:
  """Text of a script of ours, which nothing in it may end early."""
  if '</script' in text.lower():
    raise ValueError('a script has the end of a script in it')
  return Markup(text)


def _data_uri(video: Video) -> str:
  return f'data:{video.kind};base64,{base64.b64encode(video.data).decode()}'


def _is_number(text: str) -> bool:
  return text[:1].isdecimal() or text[:2].lstrip('-')[:1].isdecimal()
