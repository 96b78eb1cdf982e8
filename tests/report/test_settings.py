"""Configs beside the default."""

import sys

from dreamer_nnx.report import groups, runs, settings
from tests.report import made

PLUGIN = """
import sys
sys.modules[__name__ + '_ran'] = sys
"""


def section_of(tmp_path, *configs, trust=False):
  workdirs = [
    made.write(tmp_path / str(i), made.lines(1), None, config)
    for i, config in enumerate(configs)
  ]
  return settings.section(groups.make(runs.read_all(workdirs)), trust)


def test_differences_from_the_default_are_listed(tmp_path):
  config = made.config(optimizer__dreamer__lr=0.5)
  section = section_of(tmp_path, config | {'mine': {'x': [1, 'a']}})
  rows = {row[0]: row[1:] for row in section.tables[0].rows}
  assert rows['optimizer.dreamer.lr'] == ['4e-05', '0.5']
  assert rows['mine.x'] == ['not known', "(1, 'a')"]
  assert rows['env.name'] == ["'track'", "'gymnasium'"]
  assert 'dynamics.rssm.free_nats' not in rows
  whole = section.tables[1]
  assert whole.folded and ('dynamics.rssm.free_nats', '1.0') in whole.rows


def test_differences_between_groups_are_listed(tmp_path):
  configs = [made.config(optimizer__dreamer__lr=x) for x in (4e-5, 1e-3)]
  table, *_ = section_of(tmp_path, *configs).tables
  assert table.head[2:] == ('lr=4e-05', 'lr=0.001')
  rows = {row[0]: row[1:] for row in table.rows}
  assert rows['optimizer.dreamer.lr'] == ['4e-05', '4e-05', '0.001']


def test_plugins_are_imported_only_where_they_are_trusted(
  tmp_path, monkeypatch
):
  (tmp_path / 'a_plugin_of_a_report.py').write_text(PLUGIN)
  monkeypatch.syspath_prepend(tmp_path)
  config = made.config(plugins=['a_plugin_of_a_report'])
  section = section_of(tmp_path / 'runs', config)
  assert '--trust_config' in section.text
  assert 'a_plugin_of_a_report' not in sys.modules
  section = section_of(tmp_path / 'runs', config, trust=True)
  assert '--trust_config' not in section.text
  assert sys.modules.pop('a_plugin_of_a_report')


def test_long_values_are_cut():
  assert settings.shown('x' * 1000) == "'" + 'x' * 198 + '…'


def test_there_is_no_section_without_a_config(tmp_path):
  assert section_of(tmp_path, None) is None
