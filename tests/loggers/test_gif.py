import numpy as np
import pytest

from dreamer_nnx.loggers.gif import encode_gif, enlargement
from tests.loggers.videos import enlarged, moving_square, read_gif


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_frames_come_back_as_they_were(channels):
  video = moving_square(7, channels)
  frames, delays = read_gif(encode_gif(video, fps=10))
  # 22 times 12 rows are the first multiple of at least 256.
  assert frames.shape == (7, 264, 440, 3)
  expected = np.broadcast_to(video[..., :3], (7, 12, 20, 3))
  np.testing.assert_array_equal(frames[:, ::22, ::22], expected)
  np.testing.assert_array_equal(frames, enlarged(expected))
  assert delays == [100] * 7


@pytest.mark.parametrize(
  ('height', 'factor'), [(1, 256), (64, 4), (255, 2), (256, 1), (300, 1)]
)
def test_frames_are_enlarged_by_whole_factors(height, factor):
  assert enlargement(height) == factor
  frame = np.arange(height * 2, dtype=np.uint8).reshape(1, height, 2, 1)
  for channels in (1, 3):
    found, _ = read_gif(encode_gif(frame.repeat(channels, 3), 10))
    assert found.shape == (1, height * factor, 2 * factor, 3)
    for row in range(factor):
      small = found[:, row::factor, ::factor, :1]
      np.testing.assert_array_equal(small, frame)


def test_equal_frames_become_one_of_longer_delay():
  video = moving_square(3, 3)[[0, 1, 1, 1, 2]]
  frames, delays = read_gif(encode_gif(video, fps=10))
  np.testing.assert_array_equal(frames, enlarged(video[[0, 1, 4]]))
  assert delays == [100, 300, 100]


@pytest.mark.parametrize(
  ('fps', 'delay'), [(1, 1000), (8, 120), (20, 50), (30, 30), (200, 20)]
)
def test_delay_is_a_multiple_of_ten_ms_that_browsers_keep(fps, delay):
  assert read_gif(encode_gif(moving_square(2, 3), fps))[1] == [delay] * 2


@pytest.mark.parametrize(
  'frames',
  [
    np.zeros((2, 4, 4, 3), np.float32),
    np.zeros((0, 4, 4, 3), np.uint8),
    np.zeros((2, 4, 4, 2), np.uint8),
    np.zeros((4, 4, 3), np.uint8),
  ],
)
def test_what_is_no_video_is_refused(frames):
  with pytest.raises(ValueError, match=r'a video is uint8 \(T, H, W, C\)'):
    encode_gif(frames, fps=10)


def test_fps_must_be_positive():
  with pytest.raises(ValueError, match='fps = 0: must be above 0'):
    encode_gif(moving_square(2, 3), fps=0)
