"""Copies that a checkpoint is written from while training goes on."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

State = dict[str, jax.Array]


class Snapshot:
  """Copies of a state on the CPU, in memory that the next ones use again.

  JAX lends a CPU's arrays to whoever writes them, and an update cannot put its
  results into what is lent. An accelerator's are copied to the host instead.
  """

  def __init__(self):
    self._arrays: State = {}
    self._copy = jax.jit(_copies, donate_argnums=0, keep_unused=True)

  def take(self, state: Mapping[str, jax.Array]) -> State:
    """Copies arrays; nobody may read what was taken before any more.

    Args:
      state: Named arrays of any shape and dtype, typed PRNG keys too.
    """
    state = dict(state)
    if self._arrays.keys() == state.keys():
      self._arrays = self._copy(self._arrays, state)
    else:
      self._arrays = {name: jnp.copy(array) for name, array in state.items()}
    return dict(self._arrays)


def is_on_cpu(state: Mapping[str, jax.Array]) -> bool:
  """Tells whether all arrays are on the CPU, in this process alone."""
  platforms = {
    device.platform for array in state.values() for device in array.devices()
  }
  return platforms == {'cpu'} and jax.process_count() == 1


def _copies(old: State, new: State) -> State:
  del old
  return {name: jnp.copy(array) for name, array in new.items()}
