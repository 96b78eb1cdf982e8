"""Fills a replay on disk: FOLDER [MB]; without MB, past what fits there.

Prints the error, or by how many bytes anonymous memory has grown.
"""

import re
import sys
from pathlib import Path

import numpy as np

from dreamer_nnx.replay import capacity
from dreamer_nnx.replay.chunked import ChunkedReplay
from tests.replay.streams import space

SPACES = {'image': space((100, 100, 10), 'uint8')}


def anonymous():
  text = Path('/proc/self/status').read_text()
  return int(re.search(r'RssAnon:\s+(\d+) kB', text)[1]) * 1024


def main(folder, megabytes='64'):
  steps = 10 * int(megabytes)
  # As if another program took the room after the start.
  capacity._require_disk = lambda *args: None
  replay = ChunkedReplay(
    SPACES, 2, 2, 3, '', 0, 0, 1, steps, folder, storage='disk', chunk_size=20
  )
  image = np.random.default_rng(0).integers(0, 256, (2, 100, 100, 10), np.uint8)
  before = anonymous()
  try:
    for _ in range(steps // 2):
      replay.add({'image': image})
      if replay.ready:
        replay.sample()
  except OSError as error:
    print(error.strerror)
  else:
    print(anonymous() - before)


if __name__ == '__main__':
  main(*sys.argv[1:])
