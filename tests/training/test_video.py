import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest

from dreamer_nnx.training.video import write_video
from tests.loggers.videos import enlarged, moving_square, read_gif


def read_mp4(path):
  """Frames (T, H, W, 3) and the frames a second that the file states."""
  command = [imageio_ffmpeg.get_ffmpeg_exe(), '-i', str(path)]
  done = subprocess.run(
    [*command, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
    capture_output=True,
    check=True,
  )
  about = re.search(rb' (\d+)x(\d+)[ ,].*? (\d+) fps', done.stderr)
  width, height, fps = map(int, about.groups())
  frames = np.frombuffer(done.stdout, np.uint8)
  return frames.reshape(-1, height, width, 3), fps


@pytest.mark.parametrize('channels', [1, 3])
def test_gif_holds_the_frames(tmp_path, channels):
  video = moving_square(8, channels)
  path = write_video(str(tmp_path / 'made' / 'a.gif'), video, fps=20)
  assert path == tmp_path / 'made' / 'a.gif'
  frames, delays = read_gif(path.read_bytes())
  rgb = np.broadcast_to(video, (8, 12, 20, 3))
  np.testing.assert_array_equal(frames, enlarged(rgb))
  assert delays == [50] * 8


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_mp4_holds_the_frames_nearly(tmp_path, channels):
  video = np.repeat(np.repeat(moving_square(8, channels), 4, 1), 4, 2)
  frames, fps = read_mp4(write_video(tmp_path / 'a.mp4', video, fps=15))
  assert frames.shape == (8, 48, 80, 3)
  assert fps == 15
  # Colours are compressed, with half the resolution: edges are blurred.
  error = np.abs(frames.astype(int) - video[..., :3].astype(int))
  assert error.mean() < 8
  assert error[:, 40:, :].max() < 12


def test_mp4_of_odd_sides_gets_the_last_line_twice(tmp_path):
  video = moving_square(4, 3)[:, :11, :19]
  frames, _ = read_mp4(write_video(tmp_path / 'a.MP4', video, fps=10))
  assert frames.shape == (4, 12, 20, 3)


def test_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
  write_video(tmp_path / 'a.gif', moving_square(3, 3), fps=10)
  write_video(tmp_path / 'a.gif', moving_square(5, 3), fps=10)
  assert [path.name for path in tmp_path.iterdir()] == ['a.gif']
  assert len(read_gif((tmp_path / 'a.gif').read_bytes())[0]) == 5


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
  path = write_video(tmp_path / 'a.mp4', moving_square(3, 3), fps=10)
  old = path.read_bytes()
  monkeypatch.setenv('IMAGEIO_FFMPEG_EXE', '/bin/false')
  with pytest.raises(OSError, match='ffmpeg could not write'):
    write_video(path, moving_square(4, 3), fps=10)
  assert [p.name for p in tmp_path.iterdir()] == ['a.mp4']
  assert path.read_bytes() == old


def test_unknown_suffix_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r'suffix must be one of \.gif, \.mp4'):
    write_video(tmp_path / 'a.avi', moving_square(2, 3), fps=10)


def test_what_is_no_video_is_refused_before_anything_is_made(tmp_path):
  with pytest.raises(ValueError, match='a video is uint8'):
    write_video(tmp_path / 'made' / 'a.gif', np.ones((2, 4, 4, 3)), fps=10)
  assert not list(tmp_path.iterdir())


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(ValueError, match=r"pip install 'dreamer_nnx\[video\]'"):
    write_video(tmp_path / 'a.mp4', moving_square(2, 3), fps=10)
