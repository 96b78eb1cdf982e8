"""Records of the run of a trained agent: its config and its replay."""

import contextlib
import tempfile
from collections.abc import Iterator

from dreamer_nnx import config as configs
from dreamer_nnx import contracts, workflow
from dreamer_nnx.errors import UserError
from dreamer_nnx.saved import saved_config
from dreamer_nnx.trained import Trained


def config(trained: Trained, trust_config: bool = False) -> configs.ConfigDict:
  """Returns the whole config of the run, as its checkpoint has it.

  Raises:
    UntrustedError: It names code and is not trusted; nothing was imported.
  """
  root = trained.root
  step = int(root.name)
  return saved_config(root.parents[1], step, trust_config=trust_config)


@contextlib.contextmanager
def replay(
  trained: Trained, parts: configs.Bound
) -> Iterator[contracts.Replay]:
  """Loads the replay of a checkpoint, to draw from; nothing of it is changed.

  Args:
    parts: Bound parts of the run's config.

  Raises:
    UserError: None was saved, or nothing can be drawn from it.
  """
  found = trained.meta.get('processes')
  states = found if isinstance(found, list) else []
  indices = [x.get('replay') if isinstance(x, dict) else None for x in states]
  if not indices or not all(indices):
    raise UserError(f'{trained} has no replay.')
  faces = trained.interface.obs_space, trained.interface.action_space
  learner = workflow.make_learner(parts, *faces)
  workdir = trained.root.parents[1]
  # A run that goes on there keeps its steps on disk in a folder of its own.
  with tempfile.TemporaryDirectory() as scratch:
    made = workflow.make_replay(parts, *faces, learner, workdir, scratch)
    if len(indices) == 1:
      made.load(indices[0])
    else:
      made.load_share(indices, 0, 1)
    if not made.ready:
      raise UserError(f'the replay of {trained} is too small to draw from.')
    yield made
