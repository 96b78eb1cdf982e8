"""Prior, posterior, draws and losses, of all dynamics with a random part."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.mlp import Dense, Layers
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Count, Weight
from dreamer_nnx.slots import STOCHASTIC
from dreamer_nnx.spacetypes import Space

sg = jax.lax.stop_gradient
Array = jax.Array


class ParamNet(nnx.Module):
  """Dense layers and a Linear to the parameters of a distribution.

  `first` is the affine map that reads the input; `after_first` does the rest,
  for callers that compute `first` in parts.
  """

  def __init__(
    self,
    inputs: int,
    outputs: int,
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
    self.out = Linear(sizes[-1], outputs, outscale=outscale, **kw)

  @property
  def first(self) -> Linear:
    return self.layers[0].linear if len(self.layers) else self.out

  def after_first(self, x: Array) -> Array:
    if not len(self.layers):
      return x
    x = self.layers[0].norm_act(x)
    for layer in self.layers[1:]:
      x = layer(x)
    return self.out(x)

  def __call__(self, x: Array) -> Array:
    return self.after_first(self.first(x))


class LatentDynamics(nnx.Module):
  """Dynamics whose state is deter (D,), computed, and stoch, drawn.

    prior = net(deter),   posterior = net(tokens) or net([deter, tokens])

  Subclasses say how deter follows from what was before.

  Args:
    deter: D.
    make_core: Makes what computes deter, of the sizes of the flat stoch and of
      the action, and by keyword `hidden`, `act`, `norm`, `winit`, `precision`,
      `rngs`.
    absolute: The posterior reads the tokens alone, not deter.
    stochastic: The part of the state that is drawn.
    hidden: U, width of every dense layer.
    outscale: Multiplies the initial kernels of the last layers of prior and
      posterior; 0 begins with uniform or standard ones.
    imglayers: Dense layers of the prior before its last one.
    obslayers: Dense layers of the posterior before its last one.
    free_nats: KL divergence, in nats, below which dyn and rep have no gradient.
    act: Activation behind each norm.
    norm: Normalisation behind each linear map or convolution, over the last
      axis.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
  """

  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, Space],
    deter: int,
    make_core: Callable[..., nnx.Module],
    absolute: bool = True,
    *,
    stochastic: Choice = Choice(STOCHASTIC, 'categorical'),
    hidden: Count = 512,
    outscale: Weight = 1.0,
    imglayers: Layers = 2,
    obslayers: Layers = 1,
    free_nats: Weight = 1.0,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.precision, self.free_nats = precision, free_nats
    self.absolute = absolute
    self.action_space = dict(action_space)
    self.stochastic = part = stochastic(precision=precision)
    stoch, action = math.prod(part.shape), vector_size(action_space)
    self.feat_space = {'deter': deter, 'stoch': stoch}
    kw = dict(hidden=hidden, act=act, norm=norm, winit=winit)
    kw |= dict(precision=precision, rngs=rngs)
    self.core = make_core(stoch, action, **kw)
    kw |= dict(outscale=outscale)
    inputs = token_size + (0 if absolute else deter)
    self.posterior = ParamNet(
      inputs, part.posterior_size, layers=obslayers, **kw
    )
    self.prior = ParamNet(deter, part.prior_size, layers=imglayers, **kw)

  def losses(
    self, observed: contracts.Observed
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes the divergences of prior and posterior, at least `free_nats`.

    dyn = max(free, KL(sg(post) || prior)),  rep = max(free, KL(post || sg))
    """
    part = self.stochastic
    post, prior = observed.extra['params'], self.prior(observed.feat['deter'])
    dyn = part.posterior(sg(post)).kl(part.prior(prior))
    rep = part.posterior(post).kl(part.prior(sg(prior)))
    losses = {'dyn': dyn, 'rep': rep}
    losses = {k: jnp.maximum(self.free_nats, v) for k, v in losses.items()}
    metrics = {
      'dyn_ent': part.prior(prior).entropy().mean(),
      'rep_ent': part.posterior(post).entropy().mean(),
    }
    return losses, metrics

  def feat(self, deter: Array, stoch: Array) -> contracts.Feat:
    return {'deter': deter, 'stoch': self.flat(stoch)}

  def flat(self, stoch: Array) -> Array:
    """Maps (..., *shape) to (..., n)."""
    rank = len(self.stochastic.shape)
    return stoch.reshape(*stoch.shape[: stoch.ndim - rank], -1)

  def initial_stoch(self, batch_size: int) -> Array:
    shape = (batch_size, *self.stochastic.shape)
    return jnp.zeros(shape, self.precision.compute_dtype)

  def draw_prior(self, deter: Array, key: Array) -> Array:
    return self._draw(self.stochastic.prior, self.prior(deter), key)

  def draw_posterior(self, params: Array, key: Array) -> Array:
    return self._draw(self.stochastic.posterior, params, key)

  def action_vector(
    self, action: contracts.Action, keep: Array | None = None
  ) -> Array:
    """Concatenates actions to (..., A); zeros where `keep` does not hold."""
    dtype = self.precision.compute_dtype
    x = concat_vectors(self.action_space, action, dtype=dtype)
    return x if keep is None else masked(x, keep)

  def _draw(self, make: Callable, params: Array, key: Array) -> Array:
    """Draws; the backward pass makes the probabilities anew."""
    draw = lambda params: make(params).sample(key)
    return self.precision.cast(jax.checkpoint(draw)(params))


def bounded(action: Array) -> Array:
  """Returns actions in [-1, 1]; beyond, only the sign counts."""
  return action / sg(jnp.maximum(1, jnp.abs(action)))


def masked(x: Array, keep: Array) -> Array:
  """Returns x (B, ..., n), and zeros where `keep` (B, ...) does not hold."""
  # As many axes as x.
  keep = keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim))
  return jnp.where(keep, x, 0)
