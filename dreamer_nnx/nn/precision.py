"""Number formats of computations and parameters, and on which device."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from dreamer_nnx import registry
from dreamer_nnx.schema import OneOf

DTYPES = {
  'float32': jnp.float32,
  'bfloat16': jnp.bfloat16,
  'float16': jnp.float16,
}

ON_CPU = {'cpu': True, 'accelerator': False}


@dataclasses.dataclass(frozen=True)
class Precision:
  """The number formats of a run.

  Args:
    compute: Format of activations; `auto` is bfloat16 on accelerators and
      float32 on the CPU, where bfloat16 is emulated.
    param: Format of the parameters.
    device: `cpu` or `accelerator`: for which of them computations take their
      form; `auto` is what JAX runs on.
  """

  compute: Annotated[str, OneOf('auto', *DTYPES)] = 'auto'
  param: Annotated[str, OneOf(*DTYPES)] = 'float32'
  device: Annotated[str, OneOf('auto', *ON_CPU)] = 'auto'

  @property
  def on_cpu(self) -> bool:
    if self.device == 'auto':
      return jax.default_backend() == 'cpu'
    return registry.pick(ON_CPU, self.device, 'config.precision.device')

  @property
  def compute_dtype(self) -> jnp.dtype:
    if self.compute == 'auto':
      return jnp.float32 if self.on_cpu else jnp.bfloat16
    return registry.pick(DTYPES, self.compute, 'config.precision.compute')

  @property
  def param_dtype(self) -> jnp.dtype:
    return registry.pick(DTYPES, self.param, 'config.precision.param')

  def cast(self, x: jax.Array) -> jax.Array:
    """Converts to the compute format."""
    return x.astype(self.compute_dtype)
