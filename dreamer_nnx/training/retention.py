"""Settings of Orbax: the checkpoints it keeps and sees, and its saves."""

import functools
from collections.abc import Callable, Iterator

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from dreamer_nnx.paths import Path
from dreamer_nnx.training import checkpoint_fit as fit
from dreamer_nnx.training.record import Record

# Measured by the machine's clock, which may be set meanwhile.
LONGEST_SAVE_SECONDS = 86_400


class Names:
  """Orbax's names of steps; superseded ones are hidden from it."""

  def __init__(self, directory: Path):
    self._directory = directory
    self._names = ocp.path.step.standard_name_format()

  def build_name(self, step: int) -> str:
    return self._names.build_name(step)

  def find_all(self, base_path: Path) -> Iterator[ocp.path.step.Metadata]:
    gone = Record.read(self._directory).superseded
    found = self._names.find_all(base_path)
    return (step for step in found if step.step not in gone)

  def find_step(self, base_path: Path, step: int) -> ocp.path.step.Metadata:
    return self._names.find_step(base_path, step)


def most_kept(
  steps: int, keep_last: int, keep_every: int, keep_best: bool
) -> int:
  """Checkpoints that are there at once at most, with one being written.

  Args:
    steps: Environment steps and offline updates of the whole run.
  """
  return 1 + keep_last + keep_best + (steps // keep_every if keep_every else 0)


def options(
  directory: Path,
  keep_last: int,
  keep_every: int,
  best_metric: str | None,
  finished: Callable[[], None],
) -> ocp.CheckpointManagerOptions:
  """Makes options that keep the last, one in so many steps, and the best.

  Args:
    finished: Called after the arrays are on disk and before the step is there.
  """
  policies = [checkpoint_managers.LatestN(keep_last)]
  if keep_every:
    # Saves follow a clock, so they rarely fall on multiples of an interval.
    policies.append(
      checkpoint_managers.EveryNSteps(keep_every, exact_interval=False)
    )
  score = None
  if best_metric is not None:
    score = functools.partial(fit.read_score, name=best_metric)
    policies.append(
      checkpoint_managers.BestN(
        get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
      )
    )
  return ocp.CheckpointManagerOptions(
    # The manager writes metrics to disk only where it has a `best_fn`; what
    # is kept is the policy's decision alone.
    best_fn=score,
    preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
    cleanup_tmp_directories=True,
    step_name_format=Names(directory),
    async_options=ocp.AsyncOptions(
      timeout_secs=LONGEST_SAVE_SECONDS,
      post_finalization_callback=finished,
      # Threads that wait for a folder that cannot be made wait for minutes.
      create_directories_asynchronously=False,
    ),
  )
