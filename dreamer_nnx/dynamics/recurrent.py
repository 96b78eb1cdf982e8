"""Dynamics that make one step after the other."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.dynamics.latent import LatentDynamics, masked, sg
from dreamer_nnx.nn import loops
from dreamer_nnx.signatures import takes

Array = jax.Array
Carry = dict[str, Array]


class Recurrent(LatentDynamics):
  """Dynamics whose whole state is deter and stoch; both start at zero.

    deter' = core(deter, stoch, action)

  Its core has `embed_action`, from (..., A), and is called with deter (B, D),
  stoch (B, n) and an embedded action (B, U).

  Args:
    remat: Observed steps are computed once more in the backward pass, which
      takes more time, and less memory where their arrays are the largest.
  """

  @takes(LatentDynamics)
  def __init__(self, *args, remat: bool = False, **shared):
    super().__init__(*args, **shared)
    self.remat = remat
    shape = (self.feat_space['deter'],)
    self.entry_space = {
      'deter': jax.ShapeDtypeStruct(shape, self.precision.compute_dtype),
      'stoch': self.stochastic.entry,
    }
    self.context = 1

  def initial(self, batch_size: int) -> Carry:
    shape = (batch_size, self.feat_space['deter'])
    deter = jnp.zeros(shape, self.precision.compute_dtype)
    return {'deter': deter, 'stoch': self.initial_stoch(batch_size)}

  def resume(self, context: contracts.Context) -> Carry:
    # (B, C, ...) to (B, ...), the last step.
    entry = {name: sg(x[:, -1]) for name, x in context.entry.items()}
    return {
      'deter': self.precision.cast(entry['deter']),
      'stoch': self.stochastic.unpack(entry['stoch']),
    }

  def step(
    self,
    carry: Carry,
    tokens: Array,
    action: contracts.Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Carry, contracts.Observed]:
    tokens = self.precision.cast(tokens)
    parts = lambda deter: [tokens] if self.absolute else [deter, tokens]
    posterior = lambda deter: self.posterior(jnp.concatenate(parts(deter), -1))
    embed = self._embed(action, ~is_first)
    carry = jax.tree.map(self.precision.cast, carry)
    carry, params = self._filter(carry, posterior, embed, ~is_first, key)
    return carry, self._observed(carry, params)

  def observe(
    self,
    carry: Carry,
    tokens: Array,
    action: contracts.Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Carry, contracts.Observed]:
    token_part = self._token_part(self.precision.cast(tokens))
    embed = self._embed(action, ~is_first)
    keys = jax.random.split(key, is_first.shape[1])

    def body(carry, inputs):
      token_part, *rest = inputs
      posterior = functools.partial(self._posterior, token_part)
      carry, params = self._filter(carry, posterior, *rest)
      return carry, (carry, params)

    # (B, T, ...) to (T, B, ...), and back.
    swap = lambda x: x.swapaxes(0, 1)
    inputs = (*jax.tree.map(swap, (token_part, embed, ~is_first)), keys)
    carry = jax.tree.map(self.precision.cast, carry)
    carry, steps = loops.scan(body, carry, inputs, remat=self.remat)
    return carry, self._observed(*jax.tree.map(swap, steps))

  def predict(
    self, carry: Carry, action: contracts.Action, key: Array
  ) -> tuple[Carry, contracts.Feat]:
    carry = jax.tree.map(self.precision.cast, carry)
    stoch = self.flat(carry['stoch'])
    deter = self.core(carry['deter'], stoch, self._embed(action))
    stoch = self.draw_prior(deter, key)
    return {'deter': deter, 'stoch': stoch}, self.feat(deter, stoch)

  def starts(
    self, carry: Carry, observed: contracts.Observed, count: int
  ) -> Carry:
    del carry
    # (B, T, n) to (B·count, ...).
    last = lambda x, *shape: x[:, -count:].reshape(-1, *shape)
    return {
      'deter': last(observed.feat['deter'], self.feat_space['deter']),
      'stoch': last(observed.feat['stoch'], *self.stochastic.shape),
    }

  def _observed(self, state: Carry, params: Array) -> contracts.Observed:
    packed = self.stochastic.pack(state['stoch'])
    entry = {'deter': state['deter'], 'stoch': packed}
    return contracts.Observed(self.feat(**state), entry, {'params': params})

  def _embed(
    self, action: contracts.Action, keep: Array | None = None
  ) -> Array:
    return self.core.embed_action(self.action_vector(action, keep))

  def _token_part(self, tokens: Array) -> Array:
    """Computes what tokens and bias add to the posterior's first layer."""
    first = self.posterior.first
    start = 0 if self.absolute else self.feat_space['deter']
    return first.split(tokens, start) + first.bias[...].astype(tokens.dtype)

  def _posterior(self, token_part: Array, deter: Array) -> Array:
    """Computes parameters, where `_token_part` was made before the loop."""
    if not self.absolute:
      token_part = token_part + self.posterior.first.split(deter, 0)
    return self.posterior.after_first(token_part)

  def _filter(
    self,
    carry: Carry,
    posterior: Callable[[Array], Array],
    embed: Array,
    keep: Array,
    key: Array,
  ) -> tuple[Carry, Array]:
    deter, stoch = (masked(carry[k], keep) for k in ('deter', 'stoch'))
    deter = self.core(deter, self.flat(stoch), embed)
    params = posterior(deter)
    stoch = self.draw_posterior(params, key)
    return {'deter': deter, 'stoch': stoch}, params
