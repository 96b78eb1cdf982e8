"""The compiled programs of a run, and the memory that they need."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from dreamer_nnx.show import size
from dreamer_nnx.training.step import Learner

Batch = Mapping[str, jax.ShapeDtypeStruct]


class Sizes(NamedTuple):
  """Bytes of a program on one device, as its compiler counts them.

  Args:
    aliased: Bytes of arguments that become results.
  """

  arguments: int
  temporaries: int
  outputs: int
  aliased: int

  @classmethod
  def of(cls, compiled: jax.stages.Compiled) -> 'Sizes':
    analysis: Any = compiled.memory_analysis()
    return cls(
      analysis.argument_size_in_bytes,
      analysis.temp_size_in_bytes,
      analysis.output_size_in_bytes,
      analysis.alias_size_in_bytes,
    )

  @property
  def more(self) -> int:
    """Bytes beside the arguments while the program runs."""
    return self.temporaries + self.outputs - self.aliased


def compiled(
  learner: Learner, batch: Batch, envs: int
) -> Iterator[tuple[str, Sizes, float]]:
  """Compiles each program; yields its name, its bytes, and the seconds."""
  for name, lowered in learner.programs(batch, envs).items():
    begin = time.perf_counter()
    sizes = Sizes.of(lowered().compile())
    yield name, sizes, time.perf_counter() - begin


def together(sizes: Mapping[str, Sizes], learner: Learner) -> int:
  """Bytes that training needs of a device.

  The programs run one after the other, on the same arguments: those of the
  report are those of the update, and those of the policy its own, but for
  parameters that are not split over devices.
  """
  state = learner.abstract
  shared = size(
    {
      name: state[name]
      for name in learner.layout.acting
      if state[name].sharding.is_fully_replicated
    }
  )
  arguments = sizes['update'].arguments + sizes['policy'].arguments - shared
  return arguments + max(x.more for x in sizes.values())
