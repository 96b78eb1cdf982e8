"""The run that is asked about: what the flags of its command say."""

import dataclasses

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import paths
from dreamer_nnx.training.start import Source


@dataclasses.dataclass(frozen=True)
class Request:
  """A run that may begin, or go on.

  Args:
    config: As `load_config` returns it.
    workdir: Its folder; None looks at nothing that is in one.
    source, step, again, scratch: As `Run` takes them.
    processes: Processes that train together, each with the devices, the memory
      and the disks of this machine.
    compiling: Whether its programs are compiled, too.
  """

  config: ConfigDict
  workdir: paths.Path | None = None
  source: Source = dataclasses.field(default_factory=Source)
  step: int | None = None
  again: bool = False
  scratch: str = ''
  processes: int = 1
  compiling: bool = True

  @property
  def parts(self) -> configs.Bound:
    return configs.bind_all(self.config)
