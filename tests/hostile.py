"""Workdirs as a stranger could make them, from one that is honest."""

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from dreamer_nnx.training import checkpoint_files as files


def copied(workdir: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
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
