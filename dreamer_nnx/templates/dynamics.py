"""Predicts tokens by a recurrent network without chance."""

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.contracts import Observed
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.mlp import Dense
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import DYNAMICS

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@DYNAMICS.register('mine')
class Mine(nnx.Module):
  """A vector that follows actions and tokens.

    prior = dense(state, action),   state' = dense(prior, tokens)
    loss = |tokens(prior) - tokens|²

  Without tokens the state is what it would be with the predicted ones.

  Args:
    units: Numbers of the state.
  """

  def __init__(
    self, token_size, action_space, *, units: Count = 64, precision, rngs
  ):
    kw = dict(precision=precision, rngs=rngs)
    self.prior = Dense(units + vector_size(action_space), units, **kw)
    self.posterior = Dense(units + token_size, units, **kw)
    self.tokens = Linear(units, token_size, **kw)
    self.action_space, self.precision = dict(action_space), precision
    self.feat_space = {'state': units}
    struct = jax.ShapeDtypeStruct
    self.entry_space = {'state': struct((units,), precision.compute_dtype)}
    # `resume` reads one stored step, for an entry is the whole state.
    self.context = 1

  def initial(self, batch_size):
    shape = (batch_size, self.feat_space['state'])
    return {'state': jnp.zeros(shape, self.precision.compute_dtype)}

  def resume(self, context):
    # (B, C, ...) to (B, ...), the last of them.
    return {'state': context.entry['state'][:, -1]}

  def step(self, carry, tokens, action, is_first, key):
    del key
    tokens = self.precision.cast(tokens)
    keep = ~is_first[:, None]
    prior = self._prior(carry['state'] * keep, self._vector(action) * keep)
    state = self._posterior(prior, tokens)
    error = self.tokens(prior) - jax.lax.stop_gradient(tokens)
    error = jnp.square(error.astype(jnp.float32)).mean(-1)
    observed = Observed({'state': state}, {'state': state}, {'error': error})
    return {'state': state}, observed

  def observe(self, carry, tokens, action, is_first, key):
    def body(carry, inputs):
      return self.step(carry, *inputs, key)

    # (B, T, ...) to (T, B, ...), and back.
    swap = lambda tree: jax.tree.map(lambda x: x.swapaxes(0, 1), tree)
    carry, observed = jax.lax.scan(
      body, carry, swap((tokens, action, is_first))
    )
    return carry, swap(observed)

  def predict(self, carry, action, key):
    del key
    prior = self._prior(carry['state'], self._vector(action))
    state = self._posterior(prior, self.tokens(prior))
    return {'state': state}, {'state': state}

  def starts(self, carry, observed, count):
    del carry
    # (B, T, n) to (B K, n).
    state = observed.feat['state'][:, -count:]
    return {'state': state.reshape(-1, state.shape[-1])}

  def losses(self, observed):
    error = observed.extra['error']
    return {'tokens': error}, {'tokens_rms': jnp.sqrt(error.mean())}

  def _vector(self, action):
    dtype = self.precision.compute_dtype
    return concat_vectors(self.action_space, action, dtype=dtype)

  def _prior(self, state, action):
    return self.prior(jnp.concatenate([state, action], -1))

  def _posterior(self, prior, tokens):
    return self.posterior(jnp.concatenate([prior, tokens], -1))
