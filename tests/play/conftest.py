"""A run on `track` with some steps of replay, and its world model."""

import pytest

import dreamer_nnx
from tests import stored

TRACK = {
  'env.name': 'track',
  'env.track.size': 8,
  'env.track.length': 12,
  '**.simple.mults': (4,),
  'train.steps': 60,
  'train.batch_size': 2,
  'train.batch_length': 6,
  # No update is due.
  'train.train_ratio': 0.01,
  'replay.chunked.capacity': 512,
  'replay.chunked.chunk_size': 32,
}


@pytest.fixture(scope='package')
def workdir(tmp_path_factory):
  return stored.write(tmp_path_factory.mktemp('play') / 'run', **TRACK)


@pytest.fixture(scope='package')
def model(workdir):
  return dreamer_nnx.load_world_model(workdir)
