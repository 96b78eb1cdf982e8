"""A trace of a few updates, for TensorBoard or Perfetto."""

import dataclasses
import pathlib
from collections.abc import Mapping

import jax


@dataclasses.dataclass
class Profiler:
  """Traces the loop from after one update to after another.

  The parts of an update are named in the trace: encode, observe, decode,
  imagine, behave, predict, optimize.

  Args:
    folder: Folder that the trace is written to.
    begin, end: Updates of this process; the first ones compile.
  """

  folder: pathlib.Path
  begin: int = 10
  end: int = 15

  def __post_init__(self):
    self.seen = 0
    self.tracing = False

  def __call__(self, updates: int, metrics: Mapping[str, jax.Array]) -> None:
    """Starts or ends the trace; call it after each update, with its metrics."""
    del updates
    self.seen += 1
    if self.seen == self.begin:
      jax.block_until_ready(metrics)
      jax.profiler.start_trace(str(self.folder))
      self.tracing = True
    elif self.seen == self.end:
      jax.block_until_ready(metrics)
      self.close()

  def close(self) -> None:
    """Ends a trace that is open, and says where it is."""
    if self.tracing:
      jax.profiler.stop_trace()
      self.tracing = False
      print(f'Trace of {self.seen - self.begin} updates: {self.folder}')
