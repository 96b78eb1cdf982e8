"""Recurrent state-space model with a categorical stochastic state."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import contracts
from dreamer_nnx.dynamics.core import BlockGRU
from dreamer_nnx.nn import loops
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.mlp import Dense, Layers
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.numerics import outputs
from dreamer_nnx.schema import Count, Share, Weight
from dreamer_nnx.sizes import CLASSES, DETER, UNITS, by_size
from dreamer_nnx.slots import DYNAMICS

sg = jax.lax.stop_gradient
Array = jax.Array
Carry = dict[str, Array]


class LogitNet(nnx.Module):
  """Dense layers and a Linear to (S, C) logits.

  `first` is the affine map that reads the input; `after_first` does the rest,
  for callers that compute `first` in parts.
  """

  def __init__(
    self,
    inputs: int,
    shape: tuple[int, int],
    *,
    layers: int,
    hidden: int,
    outscale: float,
    act: str,
    norm: str,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    sizes = [inputs] + [hidden] * layers
    self.layers = nnx.List(
      [Dense(sizes[i], hidden, act=act, norm=norm, **kw) for i in range(layers)]
    )
    self.out = Linear(sizes[-1], shape[0] * shape[1], outscale=outscale, **kw)
    self.shape = shape

  @property
  def first(self) -> Linear:
    return self.layers[0].linear if len(self.layers) else self.out

  def after_first(self, x: Array) -> Array:
    if len(self.layers):
      x = self.layers[0].norm_act(x)
      for layer in self.layers[1:]:
        x = layer(x)
      x = self.out(x)
    # (..., S·C) to (..., S, C).
    return x.reshape(*x.shape[:-1], *self.shape)

  def __call__(self, x: Array) -> Array:
    return self.after_first(self.first(x))


@DYNAMICS.register('rssm')
class RSSM(nnx.Module):
  """State of deter (D,) and one-hot stoch (S, C); both start at zero.

    deter' = core(deter, stoch, action)
    posterior = logits([deter', tokens]),   prior = logits(deter')

  Replay stores deter, and the class indices of stoch.

  Args:
    deter, stoch, classes: D, S, C.
    hidden: U, units of every dense layer.
    unimix: Share of the uniform distribution in prior and posterior.
    outscale: Multiplies the initial kernels of the logits.
    imglayers, obslayers, dynlayers: Layers of prior, posterior and core.
    absolute: The posterior reads the tokens alone.
    blocks: G of the core.
    free_nats: KL below which dyn and rep have no gradient.
    remat: Observed steps are computed once more in the backward pass, which
      takes more time, and less memory where their arrays are the largest.
    act, norm, winit: See `nn`.

  Source: Hafner et al. 2025; danijar/dreamerv3 `rssm.py`.
  """

  sizes = by_size(deter=DETER, hidden=UNITS, classes=CLASSES)

  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, gym_spaces.Space],
    *,
    deter: Count = 4096,
    hidden: Count = 512,
    stoch: Count = 32,
    classes: Count = 32,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    unimix: Share = 0.01,
    outscale: Weight = 1.0,
    imglayers: Layers = 2,
    obslayers: Layers = 1,
    dynlayers: Layers = 1,
    absolute: bool = False,
    blocks: Count = 8,
    free_nats: Weight = 1.0,
    remat: bool = False,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kw = dict(act=act, norm=norm, winit=winit, precision=precision, rngs=rngs)
    self.core = BlockGRU(
      deter,
      stoch * classes,
      vector_size(action_space),
      hidden=hidden,
      blocks=blocks,
      layers=dynlayers,
      **kw,
    )
    kw |= dict(hidden=hidden, outscale=outscale)
    shape = (stoch, classes)
    inputs = token_size + (0 if absolute else deter)
    self.posterior = LogitNet(inputs, shape, layers=obslayers, **kw)
    self.prior = LogitNet(deter, shape, layers=imglayers, **kw)
    self.action_space = dict(action_space)
    self.shape, self.context = shape, 1
    self.feat_space = {'deter': deter, 'stoch': stoch * classes}
    struct, index = jax.ShapeDtypeStruct, smallest_unsigned(classes)
    self.entry_space = {
      'deter': struct((deter,), precision.compute_dtype),
      'stoch': struct((stoch,), index),
    }
    self.unimix, self.free_nats, self.absolute = unimix, free_nats, absolute
    self.remat = remat
    self.precision = precision

  def initial(self, batch_size: int) -> Carry:
    dtype = self.precision.compute_dtype
    deter = jnp.zeros((batch_size, self.feat_space['deter']), dtype)
    return {
      'deter': deter,
      'stoch': jnp.zeros((batch_size, *self.shape), dtype),
    }

  def resume(self, context: contracts.Context) -> Carry:
    # (B, C, ...) to (B, ...), the last of them.
    last = {name: x[:, -1] for name, x in context.entry.items()}
    dtype = self.precision.compute_dtype
    stoch = jax.nn.one_hot(last['stoch'], self.shape[1], dtype=dtype)
    return {'deter': last['deter'].astype(dtype), 'stoch': stoch}

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
    carry, logit = self._filter(carry, posterior, embed, ~is_first, key)
    return carry, self._observed(carry, logit)

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
      carry, logit = self._filter(carry, posterior, *rest)
      return carry, (carry, logit)

    # (B, T, ...) to (T, B, ...), and back.
    swap = lambda x: x.swapaxes(0, 1)
    inputs = (*jax.tree.map(swap, (token_part, embed, ~is_first)), keys)
    carry, steps = loops.scan(body, carry, inputs, remat=self.remat)
    return carry, self._observed(*jax.tree.map(swap, steps))

  def predict(
    self, carry: Carry, action: contracts.Action, key: Array
  ) -> tuple[Carry, contracts.Feat]:
    embed = self._embed(action, None)
    deter = self.core(carry['deter'], _flat(carry['stoch']), embed)
    stoch = self._sample(self.prior(deter), key)
    carry = {'deter': deter, 'stoch': stoch}
    return carry, self._feat(carry)

  def starts(
    self, carry: Carry, observed: contracts.Observed, count: int
  ) -> Carry:
    del carry
    # (B, T, n) to (B K, n).
    recent = lambda x: x[:, -count:].reshape(-1, x.shape[-1])
    feat = jax.tree.map(recent, observed.feat)
    # (B K, S·C) to (B K, S, C).
    return feat | {'stoch': feat['stoch'].reshape(-1, *self.shape)}

  def losses(
    self, observed: contracts.Observed
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes the divergences of prior and posterior, at least `free_nats`.

      dyn = max(free, KL(sg(post) || prior)),  rep = max(free, KL(post || sg))

    KL is summed over S.
    """
    post, prior = observed.extra['logit'], self.prior(observed.feat['deter'])
    dyn = self._dist(sg(post)).kl(self._dist(prior))
    rep = self._dist(post).kl(self._dist(sg(prior)))
    losses = {'dyn': dyn, 'rep': rep}
    losses = {k: jnp.maximum(self.free_nats, v) for k, v in losses.items()}
    metrics = {
      'dyn_ent': self._dist(prior).entropy().mean(),
      'rep_ent': self._dist(post).entropy().mean(),
    }
    return losses, metrics

  def _observed(self, state: Carry, logit: Array) -> contracts.Observed:
    dtype = self.entry_space['stoch'].dtype
    index = jnp.argmax(state['stoch'], -1).astype(dtype)
    entry = {'deter': state['deter'], 'stoch': index}
    return contracts.Observed(self._feat(state), entry, {'logit': logit})

  def _feat(self, state: Carry) -> contracts.Feat:
    return {'deter': state['deter'], 'stoch': _flat(state['stoch'])}

  def _dist(self, logit: Array) -> outputs.Independent:
    mixed = outputs.mix_uniform(logit, self.unimix)
    return outputs.Independent(outputs.OneHot(mixed), 1)

  def _embed(self, action: contracts.Action, keep: Array | None) -> Array:
    dtype = self.precision.compute_dtype
    x = concat_vectors(self.action_space, action, dtype=dtype)
    return self.core.embed_action(x if keep is None else _mask(x, keep))

  def _token_part(self, tokens: Array) -> Array:
    """Computes what tokens and bias add to the posterior's first layer."""
    first = self.posterior.first
    start = 0 if self.absolute else self.feat_space['deter']
    return first.split(tokens, start) + first.bias[...].astype(tokens.dtype)

  def _posterior(self, token_part: Array, deter: Array) -> Array:
    """Computes logits, where `_token_part` was made before the loop."""
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
    """Makes one step; returns the state and the posterior's logits."""
    deter, stoch = (_mask(carry[k], keep) for k in ('deter', 'stoch'))
    deter = self.core(deter, _flat(stoch), embed)
    logit = posterior(deter)
    return {'deter': deter, 'stoch': self._sample(logit, key)}, logit

  def _sample(self, logit: Array, key: Array) -> Array:
    """Draws; the backward pass makes the probabilities anew."""
    draw = lambda logit: self._dist(logit).sample(key)
    return self.precision.cast(jax.checkpoint(draw)(logit))


def smallest_unsigned(classes: int) -> np.dtype:
  """The smallest format for indices of so many classes."""
  formats = (np.uint8, np.uint16, np.uint32)
  return np.dtype(next(x for x in formats if classes - 1 <= np.iinfo(x).max))


def _flat(stoch: Array) -> Array:
  # (..., S, C) to (..., S·C).
  return stoch.reshape(*stoch.shape[:-2], -1)


def _mask(x: Array, keep: Array) -> Array:
  # (B,) to (B, 1, ...), as many axes as x.
  keep = keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim))
  return jnp.where(keep, x, 0)
