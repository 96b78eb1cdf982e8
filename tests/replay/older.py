"""Replays of version 0.1, in the folders that it left."""

import json
import pathlib
import tarfile
import zlib

import numpy as np

from dreamer_nnx.replay import chunkfile
from dreamer_nnx.replay.chunked import ChunkedReplay
from tests.replay.streams import by_share, space

FIXTURES = pathlib.Path(__file__).parents[1] / 'fixtures'
OLDER, LATER = 'workdirs_0_1.tar.xz', 'workdirs_0_1_later.tar.xz'
# By archive, workdir and step: steps held, and the CRC-32 of 20 batches that
# version 0.1 drew.
DRAWS = {
  (OLDER, 'uniform', 32): (32, 3478342092),
  (OLDER, 'uniform', 48): (48, 2741839370),
  (OLDER, 'priority', 48): (48, 4140353089),
  (LATER, 'uniform', 32): (32, 1225756222),
  (LATER, 'uniform', 48): (48, 2222542833),
  (LATER, 'priority', 32): (32, 2412142558),
  (LATER, 'priority', 48): (48, 4137769948),
}


def extracted(name, folder):
  with tarfile.open(FIXTURES / name) as archive:
    archive.extractall(folder, filter='data')
  return folder


def index_of(workdir, step):
  """The index that a checkpoint has, and the config of its run."""
  item = workdir / 'checkpoints' / str(step) / 'meta' / 'metadata'
  meta = json.loads(item.read_text())
  return meta['processes'][0]['replay'], meta['config']


def spaces_of(workdir, kind):
  """The spaces of then, from a stored file."""
  first = min((workdir / 'replay').glob(f'*.{kind}'))
  keys = chunkfile.decode(first.read_bytes())[0]['keys']
  return {key: space(shape, name) for key, (name, shape) in keys.items()}


def entry_of(workdir):
  spaces = spaces_of(workdir, 'side')
  return {k: x for k, x in spaces.items() if k.startswith('latent/')}


def replay_of(workdir, step, entry=None, **config):
  """A replay of the settings of then, perhaps with other entries."""
  index, saved = index_of(workdir, step)
  train = saved['train']
  shares = {'uniform': 1.0, 'priority': 1.0}
  if workdir.name == 'uniform':
    del shares['priority']
  config = {
    'capacity': saved['replay']['chunked']['capacity'],
    'chunk_size': saved['replay']['chunked']['chunk_size'],
    'steps': train['steps'],
    'selectors': by_share(**shares),
    'signals': ('model',),
  } | config
  replay = ChunkedReplay(
    spaces_of(workdir, 'data') | (entry or entry_of(workdir)),
    train['envs'],
    train['batch_size'],
    train['batch_length'],
    str(workdir / 'replay'),
    0,
    **config,
  )
  return replay, index


def drawn(replay):
  """Steps held, and the CRC-32 of 20 batches."""
  crc = 0
  for _ in range(20):
    batch, _ = replay.sample()
    # In the order of the names of then.
    for key in sorted(batch, key=lambda key: key.removeprefix('replay/')):
      crc = zlib.crc32(np.ascontiguousarray(batch[key]).tobytes(), crc)
  return len(replay), crc
