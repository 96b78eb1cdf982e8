"""Learning curves of groups, at common steps."""

import numpy as np

from dreamer_nnx.report import groups, returns, runs
from dreamer_nnx.report.curves import Curve
from dreamer_nnx.report.sections import FRAMES, HOURS, STEPS
from tests.report import made


def curve(steps, values):
  found = Curve()
  for step, value in zip(steps, values, strict=True):
    found.add(step, value)
  return found


def test_short_curves_meet_at_the_steps_of_all():
  one, two = curve([0, 10, 20], [0, 1, 2]), curve([5, 10, 30], [5, 6, 26])
  grid, values = returns.aligned([one, two])
  nan = np.nan
  np.testing.assert_array_equal(grid, [0, 5, 10, 20, 30])
  np.testing.assert_array_equal(values[0], [0, 0.5, 1, 2, nan])
  np.testing.assert_array_equal(values[1], [nan, 5, 6, 16, 26])


def test_long_curves_meet_in_means():
  values = np.arange(20_000.0)
  one, two = curve(values, values), curve(values[:10_000], values[:10_000])
  grid, found = returns.aligned([one, two])
  assert found.shape == (2, len(grid)) == (2, returns.BINS)
  # As far as the stretches of what is kept are not those of the means.
  np.testing.assert_allclose(found[0], grid, atol=40)
  np.testing.assert_allclose(found[1, :49], grid[:49], atol=40)
  assert np.isnan(found[1, 51:]).all()
  assert np.isfinite(found[0]).all()


def section_of(workdirs):
  return returns.section(groups.make(runs.read_all(workdirs)))


def test_seeds_are_a_band_and_each_is_drawn(tmp_path):
  section = section_of(made.seeds(tmp_path, 5))
  band, each = section.charts
  middle, median = band.series
  # Returns of the seeds at step 10 i are i to i + 4.
  np.testing.assert_allclose(middle.y, np.arange(1, 101) + 2)
  np.testing.assert_array_equal(median.y, middle.y)
  assert (middle.low < middle.y).all() and (middle.high > middle.y).all()
  assert (middle.low >= middle.y - 2).all()
  assert [series.seed for series in each.series] == list(range(5))
  assert {series.label for series in each.series} == {middle.label}


def test_a_single_run_is_a_line(tmp_path):
  (chart,) = section_of(made.seeds(tmp_path, 1)).charts
  assert [series.low for series in chart.series] == [None]


def test_the_axes_are_steps_frames_and_hours(tmp_path):
  made.write(tmp_path, made.lines(50, repeat=4))
  (chart,) = section_of([tmp_path]).charts
  (series,) = chart.series
  assert list(series.x) == [STEPS, FRAMES, HOURS]
  np.testing.assert_allclose(series.x[FRAMES], 4 * series.x[STEPS])
  np.testing.assert_allclose(series.x[HOURS], series.x[STEPS] / 1000)


def test_frames_are_no_axis_where_they_are_steps(tmp_path):
  made.write(tmp_path, made.lines(3))
  (chart,) = section_of([tmp_path]).charts
  assert list(chart.series[0].x) == [STEPS, HOURS]


def test_the_table_has_the_ends_by_hand(tmp_path):
  workdirs = made.seeds(tmp_path, 3)
  for index, workdir in enumerate(workdirs):
    evaluated = [made.evaluation(10, 99.0), made.evaluation(20, 2.0**index)]
    made.write(workdir, evaluations=evaluated)
  (table,) = section_of(workdirs).tables
  training, greedy = table.rows
  # The last lines from step 900 on: 90 to 100.
  assert training[2:4] == ['3', '96 [95, 97]']
  assert greedy[0].startswith('Evaluations, greedy')
  assert greedy[3].startswith('2.333 [1, 4]')
  assert greedy[4].startswith('2 [1, 4]')


def test_evaluations_in_the_log_are_drawn_where_they_have_no_file(tmp_path):
  made.write(tmp_path, [{'env_steps': 5, 'eval/return': 3.0}])
  section = section_of([tmp_path])
  assert [chart.title for chart in section.charts] == [
    'Evaluations, greedy actions'
  ]


def test_there_is_no_section_without_episodes(tmp_path):
  made.write(tmp_path, [{'env_steps': 5, 'train/loss/rew': 3.0}])
  assert section_of([tmp_path]) is None
