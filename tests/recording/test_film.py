"""Videos written frame by frame, and what becomes of them when that fails."""

import stat

import numpy as np
import pytest

from dreamer_nnx.recording import film
from dreamer_nnx.report import videos
from tests.loggers.videos import moving_square, read_gif
from tests.training.test_video import read_mp4

FRAMES = np.repeat(np.repeat(moving_square(6, 3), 4, 1), 4, 2)


def shoot(folder, frames=FRAMES):
  made = film.Film(folder / 'made' / 'eval_0000000007')
  try:
    for frame in frames:
      made.add(frame)
    made.finish()
  finally:
    made.close()
  return made


def program(folder, text):
  path = folder / 'ffmpeg'
  path.write_text(f'#!/bin/sh\n{text}\n')
  path.chmod(path.stat().st_mode | stat.S_IXUSR)
  return path


def names(folder):
  return [path.name for path in (folder / 'made').iterdir()]


def test_mp4_has_the_frames_nearly_and_even_sides(tmp_path):
  made = shoot(tmp_path, FRAMES[:, :47, :79])
  frames, fps = read_mp4(made.path)
  assert fps == film.FPS
  assert frames.shape == (6, 48, 80, 3)
  error = np.abs(frames[:, :47, :79].astype(int) - FRAMES[:, :47, :79])
  # Colours are compressed, with half the resolution.
  assert error.mean() < 8
  assert names(tmp_path) == ['eval_0000000007.mp4']


def test_without_ffmpeg_it_is_a_gif(tmp_path, monkeypatch):
  monkeypatch.setattr(film, 'ffmpeg', lambda: '')
  made = shoot(tmp_path, moving_square(6, 3))
  assert names(tmp_path) == ['eval_0000000007.gif']
  frames, delays = read_gif(made.path.read_bytes())
  assert len(frames) == 6
  assert delays == [50] * 6
  assert made.note == ''


@pytest.mark.parametrize(
  'bound, value', [('GIF_FRAMES', 4), ('GIF_BYTES', 4 * 12 * 20 * 3)]
)
def test_a_gif_ends_at_a_bound_and_says_so(tmp_path, monkeypatch, bound, value):
  monkeypatch.setattr(film, 'ffmpeg', lambda: '')
  monkeypatch.setattr(film, bound, value)
  made = shoot(tmp_path, moving_square(6, 3))
  assert len(read_gif(made.path.read_bytes())[0]) == 4
  assert 'ends after 4 steps. Install ffmpeg' in made.note


@pytest.mark.parametrize(
  'text, said',
  [
    ('echo no space left >&2; exit 1', 'no space left'),
    ('cat > /dev/null; echo it is full >&2; exit 1', 'it is full'),
    ('exit 3', 'status 3'),
  ],
)
def test_an_ffmpeg_that_fails_is_an_error_and_leaves_nothing(
  tmp_path, monkeypatch, text, said
):
  path = program(tmp_path, text)
  monkeypatch.setattr(film, 'ffmpeg', lambda: str(path))
  with pytest.raises(OSError, match=said):
    shoot(tmp_path, np.zeros((40, 256, 256, 3), np.uint8))
  assert names(tmp_path) == []


def test_an_ffmpeg_that_stands_still_is_an_error(tmp_path, monkeypatch):
  path = program(tmp_path, 'exec sleep 100')
  monkeypatch.setattr(film, 'ffmpeg', lambda: str(path))
  monkeypatch.setattr(film, 'PATIENCE', 0.2)
  with pytest.raises(OSError, match=r'took no frame for 0.2 seconds'):
    shoot(tmp_path, np.zeros((40, 256, 256, 3), np.uint8))
  with pytest.raises(OSError, match=r'did not end in 0.2 seconds'):
    shoot(tmp_path, np.zeros((1, 4, 4, 3), np.uint8))
  assert names(tmp_path) == []


def test_the_program_on_the_path_comes_first(tmp_path, monkeypatch):
  path = program(tmp_path, 'exit 1')
  monkeypatch.setenv('PATH', str(tmp_path), ':')
  assert film.ffmpeg() == str(path)


@pytest.mark.parametrize('path, kind', [('', 'gif'), (None, 'mp4')])
def test_the_page_of_runs_finds_it(tmp_path, monkeypatch, path, kind):
  if path is not None:
    monkeypatch.setattr(film, 'ffmpeg', lambda: path)
  (shoot(tmp_path).path.parent).rename(tmp_path / videos.FOLDER)
  (found,), left_out = videos.read(tmp_path)
  assert (found.name, found.step, left_out) == ('eval', 7, '')
  assert found.kind.endswith(kind)


def test_a_film_without_frames_is_none(tmp_path):
  shoot(tmp_path, [])
  assert names(tmp_path) == []
