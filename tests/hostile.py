"""Workdirs as a stranger could make them, from one that is honest.

  python -m tests.hostile HONEST WORKDIR...

reads the latest checkpoint of each for the config of the first, and prints a
JSON list of the error of each, its seconds of CPU and its KiB of memory.
"""

import json
import pathlib
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp
import tensorstore

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.run import saved_config
from dreamer_nnx.training import checkpoint, sharding
from dreamer_nnx.training import checkpoint_files as files


def copy_workdir(workdir: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
  """A copy of a workdir."""
  shutil.copytree(workdir, target, symlinks=True)
  return target


def step_of(workdir: pathlib.Path) -> pathlib.Path:
  """The folder of the latest checkpoint."""
  return files.find(workdir)


def edit_meta(
  workdir: pathlib.Path, change: Callable[[dict[str, Any]], Any]
) -> None:
  """Changes counters, replay index or config, and the checksums with them."""
  root = step_of(workdir)
  file = root / 'meta' / 'metadata'
  meta = json.loads(file.read_text())
  change(meta)
  file.write_text(json.dumps(meta))
  seal(root)


def seal(root: pathlib.Path) -> None:
  """Makes the list of checksums fit whatever is in a checkpoint."""
  (root / files.MANIFEST).unlink(missing_ok=True)
  files.write_manifest(root)


def edit_array(
  workdir: pathlib.Path, item: str, change: Callable[[dict[str, Any]], Any]
) -> None:
  """Changes what is said of the first array of an item: shape, parts, ..."""
  root = step_of(workdir)
  store = tensorstore.KvStore.open(
    {'driver': 'ocdbt', 'base': f'file://{root / item}/'}
  ).result()
  keys = [key for key in store.list().result() if key.endswith(b'/.zarray')]
  said = json.loads(store.read(keys[0]).result().value)
  change(said)
  store.write(keys[0], json.dumps(said).encode()).result()
  seal(root)


def edit_state(
  workdir: pathlib.Path, change: Callable[[dict[str, Any]], Any]
) -> None:
  """Changes arrays of the state, by name, and the checksums with them."""
  root = step_of(workdir)
  with warnings.catch_warnings(), ocp.PyTreeCheckpointer() as keeper:
    # The sharding is that of the checkpoint.
    warnings.simplefilter('ignore', UserWarning)
    state = keeper.restore(root / 'state')
    change(state)
    keeper.save(root / 'state', state, force=True)
  seal(root)


def measured(read: Callable[[], Any]) -> list:
  """The error of a call, its seconds of CPU, and its KiB of memory."""
  usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  before, start, error = usage(), time.process_time(), ''
  try:
    read()
  except Exception as caught:
    error = f'{type(caught).__name__}: {caught}'
  return [error, time.process_time() - start, usage() - before]


def main(honest: str, *workdirs: str) -> None:
  config = configs.resolve(saved_config(pathlib.Path(honest)))
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(
    config,
    envs.obs_space,
    envs.action_space,
    sharding.make_sharding(devices=jax.devices()[:1]),
  )
  read = lambda path: checkpoint.restore(pathlib.Path(path), learner.abstract)
  read(honest)
  print(
    json.dumps([measured(lambda path=path: read(path)) for path in workdirs])
  )


if __name__ == '__main__':
  main(*sys.argv[1:])
