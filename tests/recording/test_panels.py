import numpy as np

from dreamer_nnx.recording import panels
from dreamer_nnx.recording.panels import Column, picture, scaled

TOP = panels.LINE + panels.GAP
INSET = panels.GAP


def image(height, width, channels=3):
  count = height * width * channels
  return np.arange(count, dtype=np.uint8).reshape(height, width, channels)


def test_images_are_scaled_by_their_nearest_pixels():
  small = image(2, 3)
  big = scaled(small, 6)
  np.testing.assert_array_equal(big, small.repeat(3, 0).repeat(3, 1))
  np.testing.assert_array_equal(scaled(big, 2), small)
  # Every second row and column, of an image that is higher than the others.
  np.testing.assert_array_equal(scaled(image(4, 4), 2), image(4, 4)[::2, ::2])


def test_columns_are_side_by_side_and_as_high_as_the_highest():
  small, tall = image(64, 64), image(128, 32)
  shown = picture([Column('a', [small, tall]), Column('b', [small], (9, 8, 7))])
  height = 256 + TOP + INSET
  assert shown.shape == (height, (256 + 64 + 8) + (256 + 8), 3)
  inside = shown[TOP : TOP + 256]
  np.testing.assert_array_equal(
    inside[:, INSET : INSET + 256], scaled(small, 256)
  )
  end = INSET + 256 + 64
  np.testing.assert_array_equal(inside[:, INSET + 256 : end], scaled(tall, 256))
  # The border is inside of the gap, all around the second column alone.
  border = (shown == [9, 8, 7]).all(-1)
  assert not border[:, : 256 + 64 + 8].any()
  assert border[TOP - 1, -(256 + 4)]
  assert border[-3, -3]


def test_an_image_that_is_high_keeps_its_pixels():
  big = image(300, 200)
  shown = picture([Column('a', [big])])
  np.testing.assert_array_equal(shown[TOP : TOP + 300, INSET:-INSET], big)


def test_gray_images_stay_gray():
  gray = image(256, 10, 1)
  shown = picture([Column('a', [gray])])[TOP : TOP + 256, INSET:-INSET]
  np.testing.assert_array_equal(shown, gray.repeat(3, -1))


def is_color(plot, color):
  return (plot == color).all(-1)


def test_numbers_are_bars_and_predictions_marks():
  plot = panels.Plots().draw('v', np.array([1.0, -0.5]), np.array([0.5, 0.5]))
  middle, half = panels.HEIGHT // 2, panels.WIDTH // 2
  bars, marks = is_color(plot, panels.GRAY), is_color(plot, panels.MARK)
  # The first number goes up to the top, the second half as far down.
  assert bars[: middle - 60, :half].any()
  assert not bars[:middle, half + 1 :].any()
  low = np.flatnonzero(bars[:, half + 40])
  assert abs(low[-1] - middle - (middle - panels.LINE) / 2) < 2
  rows = np.flatnonzero(marks.any(1))
  assert np.ptp(rows) <= 2
  assert abs(rows.mean() - middle + (middle - panels.LINE) / 2) < 2


def test_the_scale_of_a_plot_grows_and_stays():
  plots = panels.Plots()
  one = plots.draw('v', np.array([1.0]), None)
  plots.draw('v', np.array([10.0]), None)
  later = plots.draw('v', np.array([1.0]), None)
  other = plots.draw('w', np.array([1.0]), None)
  size = lambda plot: is_color(plot, panels.GRAY).sum()
  assert size(later) < size(one) / 5
  assert abs(size(other) - size(one)) < 50


def test_numbers_that_cannot_be_drawn_do_no_harm():
  plots = panels.Plots()
  odd = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
  assert plots.draw('v', odd, odd[:2]).shape == (256, 256, 3)
  assert plots.draw('v', np.zeros((40, 40)), None).shape == (256, 256, 3)
  assert plots.draw('n', np.int32(3), np.int32(2)).shape == (256, 256, 3)
