"""Makes the sample of this version: a small run, compressed, and its numbers.

  python -m tests.samples

Writes `workdir_X_Y.tar.xz` and `workdir_X_Y.json` into `tests/fixtures`, for
`test_samples.py` to go on with. Samples of released versions never change: do
this again only until X.Y is released.
"""

import io
import json
import pathlib
import shutil
import sys
import tarfile
import tempfile
import zlib
from typing import Any

import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import versions, workflow
from dreamer_nnx.run import saved_config
from dreamer_nnx.training import checkpoint

FIXTURES = pathlib.Path(__file__).parent / 'fixtures'
STEPS = 48
BATCHES = 5
# Beside TINY: what takes room, and components whose state is stored.
FIELDS = {
  'train__steps': STEPS,
  'train__save_every': 24,
  'train__train_ratio': 4.0,
  'train__log_every': 24,
  'dynamics__rssm__blocks': 2,
  'dynamics__rssm__deter': 8,
  'dynamics__rssm__stochastic__categorical__stoch': 2,
  'dynamics__rssm__stochastic__categorical__classes': 4,
  'encoder__simple__depth': 4,
  'decoder__simple__depth': 4,
  'decoder__simple__units': 8,
  'decoder__simple__bspace': 2,
  'replay__chunked__chunk_size': 8,
  'replay__chunked__selectors__names': 'uniform,priority',
  'checkpoint__keep_last': 1,
  'checkpoint__keep_best': False,
}


def name() -> str:
  """Name of this version's sample: `workdir_0_2` of 0.2.0."""
  return 'workdir_' + '_'.join(versions.PACKAGE.split('.')[:2])


def main() -> int:
  from tests.launcher import arguments, finish, spawn

  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder) / 'run'
    # As it is on any machine: what only this one has is no part of a sample.
    done = finish(spawn(arguments(workdir, **FIELDS)))
    if done.status:
      print(done.out)
      return done.status
    for path in ('profile', 'videos', 'run.json', '.lock'):
      shutil.rmtree(workdir / path, ignore_errors=True)
      if (workdir / path).is_file():
        (workdir / path).unlink()
    found = numbers(workdir)
    pack(workdir, FIXTURES / f'{name()}.tar.xz')
  text = json.dumps(found, indent=2, sort_keys=True) + '\n'
  (FIXTURES / f'{name()}.json').write_text(text, 'utf-8')
  for path in sorted(FIXTURES.glob(f'{name()}.*')):
    print(path, path.stat().st_size, 'bytes')
  return 0


def pack(folder: pathlib.Path, path: pathlib.Path) -> None:
  """Writes what is in a folder, in order, without times and owners."""
  with tarfile.open(path, 'w:xz', preset=9) as archive:
    for file in sorted(folder.rglob('*')):
      info = tarfile.TarInfo(file.relative_to(folder).as_posix())
      info.mode = 0o755 if file.is_dir() else 0o644
      info.type = tarfile.DIRTYPE if file.is_dir() else tarfile.REGTYPE
      data = b'' if file.is_dir() else file.read_bytes()
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))


def extracted(sample: str, folder: pathlib.Path) -> pathlib.Path:
  """Unpacks a sample into a new workdir."""
  with tarfile.open(FIXTURES / f'{sample}.tar.xz') as archive:
    archive.extractall(folder / sample, filter='data')
  return folder / sample


def numbers(workdir: pathlib.Path) -> dict[str, Any]:
  """What every later version finds in a workdir, exactly.

  Checksums of every array by its name of today, the counters, and batches
  that the replay draws.
  """
  config = configs.resolve(saved_config(workdir))
  envs = workflow.make_envs(config)
  spaces = envs.obs_space, envs.action_space
  envs.close()
  learner = workflow.make_learner(config, *spaces)
  restored = checkpoint.restore(workdir, learner.abstract)
  replay = workflow.make_replay(config, *spaces, learner, workdir)
  replay.load(restored.meta['processes'][0]['replay'])
  batches = [replay.sample()[0] for _ in range(BATCHES)]
  keys = sorted(set().union(*batches))
  return {
    'written_by': restored.meta['written_by'],
    'format': restored.meta['format'],
    'counters': restored.meta['counters'],
    'interface': restored.meta['interface'],
    'state': {k: crc(plain(x)) for k, x in restored.state.items()},
    'loop': {k: crc(x) for k, x in restored.loop.items()},
    'replay': {'steps': len(replay)}
    | {k: crc(*(batch[k] for batch in batches)) for k in keys},
  }


def plain(x: Any) -> np.ndarray:
  """An array, or the numbers of a typed key."""
  import jax

  is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(x) if is_key else x)


def crc(*arrays: Any) -> int:
  """CRC-32 of shapes, formats and contents."""
  found = 0
  for x in map(np.ascontiguousarray, arrays):
    found = zlib.crc32(f'{x.dtype.name}{x.shape}'.encode(), found)
    found = zlib.crc32(x.tobytes(), found)
  return found


if __name__ == '__main__':
  sys.exit(main())
