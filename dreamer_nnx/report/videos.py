"""Videos of a workdir: the newest of each name, as far as there is room."""

import re
from typing import NamedTuple

from dreamer_nnx import paths

FOLDER = 'videos'
# Bytes of one video, and of those of a run together.
LARGEST, ROOM = 4_000_000, 8_000_000
NAME = re.compile(r'(.+)_(\d{1,15})\.(gif|mp4)', re.IGNORECASE)
# How each kind begins; at most that many bytes are before it.
MAGIC = {'gif': (0, b'GIF8'), 'mp4': (4, b'ftyp')}
KINDS = {'gif': 'image/gif', 'mp4': 'video/mp4'}


class Video(NamedTuple):
  """A video: name, environment step, MIME type and content of the file."""

  name: str
  step: int
  kind: str
  data: bytes


def read(workdir: paths.Path) -> tuple[list[Video], str]:
  """Reads videos; returns them, and a sentence about those left out, if any.

  Raises:
    PathError: Something in their folder leads out of the workdir.
  """
  folder = workdir / FOLDER
  if not folder.is_dir():
    return [], ''
  paths.check_inside(folder, workdir)
  newest: dict[str, tuple[int, str]] = {}
  for path in paths.entries(folder):
    if match := NAME.fullmatch(path.name):
      found = int(match[2]), path.name
      newest[match[1]] = max(found, newest.get(match[1], found))
  videos, room, lost = [], ROOM, 0
  for name, (step, file) in sorted(newest.items()):
    size = paths.size(folder / file)
    kind = file.rpartition('.')[2].lower()
    data = b''
    if size <= min(LARGEST, room):
      data = paths.read(folder / file)
    if _is(kind, data):
      room -= size
      videos.append(Video(name, step, KINDS[kind], data))
    else:
      lost += 1
  text = (
    f'{lost} videos are too large for this page, or damaged: see {FOLDER}/.'
  )
  return videos, text if lost else ''


def _is(kind: str, data: bytes) -> bool:
  start, magic = MAGIC[kind]
  return data[start : start + len(magic)] == magic
