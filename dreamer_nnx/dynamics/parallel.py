"""Dynamics that compute all steps of a sequence at once."""

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.dynamics.latent import LatentDynamics, bounded, masked

Array = jax.Array
Carry = dict[str, Array]


class Parallel(LatentDynamics):
  """Dynamics whose posterior reads the tokens alone, so that no step waits.

    stoch[t] ~ posterior(tokens[t])
    memory, deter[t] = core(memory, [stoch[t-1], action[t-1]])

  The carry is the memory of the core, a dict, and `stoch`. The core has
  `initial(batch_size)` -> memory, and is called with a memory, inputs (B, T, I)
  and is_first (B, T), which begins the memory anew. It returns the memory after
  the last step, deter (B, T, D), and a dict of arrays (B, T, ...) with which
  `starts` can go on from every step.
  """

  core: nnx.Module

  def initial(self, batch_size: int) -> Carry:
    memory = self.core.initial(batch_size)
    return memory | {'stoch': self.initial_stoch(batch_size)}

  def step(
    self,
    carry: Carry,
    tokens: Array,
    action: contracts.Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Carry, contracts.Observed]:
    # (B, ...) to (B, 1, ...), and back.
    inputs = jax.tree.map(lambda x: x[:, None], (tokens, action, is_first))
    carry, observed = self.observe(carry, *inputs, key)
    return carry, jax.tree.map(lambda x: x[:, 0], observed)

  def observe(
    self,
    carry: Carry,
    tokens: Array,
    action: contracts.Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Carry, contracts.Observed]:
    params = self.posterior(self.precision.cast(tokens))
    stoch = self.draw_posterior(params, key)
    last, memory = _popped(carry)
    # (B, ...) and (B, T-1, ...) to (B, T, ...).
    before = jnp.concatenate([last[:, None], stoch[:, :-1]], 1)
    x = self.inputs(before, action, ~is_first)
    memory, deter, states = self.core(memory, x, is_first)
    feat, extra = self.feat(deter, stoch), states | {'params': params}
    observed = contracts.Observed(feat, self.entry(stoch, states), extra)
    return memory | {'stoch': stoch[:, -1]}, observed

  def predict(
    self, carry: Carry, action: contracts.Action, key: Array
  ) -> tuple[Carry, contracts.Feat]:
    last, memory = _popped(carry)
    # (B, ...) to (B, 1, ...), and back.
    action = jax.tree.map(lambda x: x[:, None], action)
    x = self.inputs(last[:, None], action)
    memory, deter = self.advance(memory, x)
    stoch = self.draw_prior(deter[:, 0], key)
    return memory | {'stoch': stoch}, self.feat(deter[:, 0], stoch)

  def advance(self, memory: Carry, x: Array) -> tuple[Carry, Array]:
    """Predicts one step from inputs (B, 1, I) to deter (B, 1, D)."""
    memory, deter, _ = self.core(memory, x, jnp.zeros(x.shape[:2], bool))
    return memory, deter

  def entry(self, stoch: Array, states: dict[str, Array]) -> contracts.Entry:
    """Makes what replay stores of steps (B, T, ...), in each subclass."""
    raise NotImplementedError

  def inputs(
    self, stoch: Array, action: contracts.Action, keep: Array | None = None
  ) -> Array:
    """Joins stoch and action; zeros where `keep` does not hold."""
    x = bounded(self.action_vector(action, keep))
    stoch = self.flat(self.precision.cast(stoch))
    stoch = stoch if keep is None else masked(stoch, keep)
    return jnp.concatenate([stoch, x], -1)


def _popped(carry: Carry) -> tuple[Array, Carry]:
  """Takes stoch from a carry; returns it and the memory."""
  memory = dict(carry)
  return memory.pop('stoch'), memory
