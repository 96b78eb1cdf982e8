"""Memory that a run needs, of its device and of the machine."""

from collections.abc import Iterator

import jax

from dreamer_nnx.contracts import Footprint
from dreamer_nnx.preflight.table import ERROR, OK, WARNING, Row, amount
from dreamer_nnx.replay.memory import available_bytes
from dreamer_nnx.show import size
from dreamer_nnx.training import devices
from dreamer_nnx.training.batch_check import StepSpaces
from dreamer_nnx.training.options import TrainOptions
from dreamer_nnx.training.step import Learner

# Share of what is free that is no longer safe to need.
TIGHT = 0.9


def least(learner: Learner, batch: StepSpaces) -> int:
  """Bytes of a device that hold state, gradients and a batch, and no more."""
  state, layout = learner.abstract, learner.layout
  trained = {name: state[name] for name in layout.trained}
  rows = learner.sharding.rows
  return (
    size(state, local=True) + size(trained, local=True) + (size(batch) // rows)
  )


def rows(
  need: int, learner: Learner, replay: Footprint, train: TrainOptions
) -> Iterator[Row]:
  """A row for the device, unless it is a CPU, and one for the machine.

  Args:
    need: Bytes that training needs of each device.
  """
  device, copy = jax.local_devices()[0], size(learner.abstract)
  advice = devices.less_memory(train.batch_size, train.batch_length)
  host = replay.memory + copy
  text = f'replay {amount(replay.memory)}, a checkpoint {amount(copy)}'
  if device.platform == 'cpu':
    programs = need * jax.local_device_count()
    host += programs
    text = f'programs {amount(programs)}, {text}'
  else:
    limit = devices.memory_limit(device)
    yield _row('device', need, limit, 'programs', advice)
  remedy = f'Lower config.replay.chunked.capacity. {advice}'
  yield _row('memory', host, available_bytes(), text, remedy)


def _row(name: str, need: int, free: int, text: str, remedy: str) -> Row:
  level = ERROR if need > free else WARNING if need > TIGHT * free else OK
  return Row(
    name,
    f'{amount(need)} of {amount(free)} that are free: {text}.',
    level,
    '' if level == OK else remedy,
  )
