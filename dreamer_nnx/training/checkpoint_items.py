"""Items of a checkpoint beside its state; others may write one of them.

Orbax calls a save done when what its items wait for is done, in the thread that
saves and in every process; only then does the step appear.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from dreamer_nnx.training import checkpoint_fit as fit


class BehindHandler(ocp.AsyncCheckpointHandler):
  """A handler that stores nothing: it only waits for what others write."""

  async def async_save(
    self, directory: epath.Path, args: 'BehindSave'
  ) -> list['BehindSave']:
    del directory
    return [args]

  def save(self, directory: epath.Path, args: 'BehindSave') -> None:
    del directory
    args.result()

  def restore(self, directory: epath.Path, args: Any = None) -> None:
    del directory, args


@ocp.args.register_with_handler(BehindHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class BehindSave(ocp.args.CheckpointArgs):
  """An item that is saved once a function has returned; fails as it fails."""

  wait: Callable[[], None]

  def result(self, timeout: float | None = None) -> None:
    del timeout  # A save has a day, and what is waited for ends with its disk.
    self.wait()

  def cancel(self) -> None:
    pass


def beside(
  state: Mapping[str, jax.Array],
  loop: Mapping[str, np.ndarray],
  meta: Mapping[str, Any],
  behind: Callable[[], None] | None,
) -> dict[str, ocp.args.CheckpointArgs]:
  """Makes the items beside the state; see `Checkpoints.save`.

  Raises:
    CheckpointError: An array is of a format that cannot be stored.
    TypeError: `meta` is no JSON.
  """
  host = {name: np.array(value) for name, value in loop.items()}
  fit.check_savable({**state, **host})
  try:
    plain = json.loads(json.dumps(dict(meta)))
  except (TypeError, ValueError) as error:
    raise TypeError(f'checkpoint meta must be JSON: {error}.') from error
  items = {'meta': ocp.args.JsonSave(plain)}
  if host:
    items['loop'] = ocp.args.PyTreeSave(host)
  if behind:
    items['behind'] = BehindSave(behind)
  return items
