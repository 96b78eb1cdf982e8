"""Videos of a workdir: which are taken, and which are not."""

import pytest

from dreamer_nnx import paths
from dreamer_nnx.report import videos
from tests.report import made


def write(workdir, **files):
  folder = workdir / 'videos'
  folder.mkdir()
  for name, data in files.items():
    (folder / name.replace('__', '.')).write_bytes(data)


def test_the_newest_of_each_name_is_taken(tmp_path):
  mp4 = b'\0\0\0\x18ftypisom'
  new = made.GIF + b'new'
  write(tmp_path, a_0000000010__gif=made.GIF, a_0000000200__gif=new)
  (tmp_path / 'videos' / 'b_5.MP4').write_bytes(mp4)
  found, lost = videos.read(tmp_path)
  assert found == [('a', 200, 'image/gif', new), ('b', 5, 'video/mp4', mp4)]
  assert lost == ''


def test_what_is_no_video_or_too_large_is_left_out(tmp_path, monkeypatch):
  monkeypatch.setattr(videos, 'LARGEST', 100)
  write(
    tmp_path,
    a_1__gif=b'<script>',
    b_1__mp4=made.GIF,
    c_1__gif=made.GIF + bytes(100),
    d_1__svg=b'<svg/>',
    e__gif=made.GIF,
    f_1__gif=made.GIF,
  )
  found, lost = videos.read(tmp_path)
  assert [video.name for video in found] == ['f']
  assert lost.startswith('3 videos are too large')


def test_there_is_room_for_so_many(tmp_path, monkeypatch):
  monkeypatch.setattr(videos, 'ROOM', 2 * len(made.GIF))
  write(tmp_path, a_1__gif=made.GIF, b_1__gif=made.GIF, c_1__gif=made.GIF)
  found, lost = videos.read(tmp_path)
  assert len(found) == 2 and lost.startswith('1 videos')


def test_a_file_from_elsewhere_is_refused(tmp_path):
  workdir = tmp_path / 'a'
  workdir.mkdir()
  write(workdir)
  (tmp_path / 'secret').write_bytes(made.GIF)
  (workdir / 'videos' / 'a_1.gif').symlink_to(tmp_path / 'secret')
  with pytest.raises(paths.PathError, match='outside'):
    videos.read(workdir)


def test_a_workdir_without_videos_has_none(tmp_path):
  assert videos.read(tmp_path) == ([], '')
