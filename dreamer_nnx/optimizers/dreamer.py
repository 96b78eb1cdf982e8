"""The optimiser of DreamerV3: LaProp with adaptive gradient clipping."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dreamer_nnx.optimizers.chain import chain
from dreamer_nnx.optimizers.schedules import Decay, Scheduled
from dreamer_nnx.schema import Epsilon, Weight
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import OPTIMIZER


class RMSState(NamedTuple):
  count: jax.Array
  nu: optax.Params


class MomentumState(NamedTuple):
  count: jax.Array
  mu: optax.Params


def scale_by_rms(beta: float, eps: float) -> optax.GradientTransformation:
  """Divides by the RMS: g / (√ν̂ + ε), ν the EMA of g², ν̂ bias-corrected."""

  def init(params):
    zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
    return RMSState(jnp.zeros((), jnp.int32), zeros)

  def update(updates, state, params=None):
    del params
    count = optax.safe_increment(state.count)
    nu = optax.tree.update_moment(updates, state.nu, beta, 2)
    corrected = optax.tree.bias_correction(nu, beta, count)
    scale = lambda g, v: g / (jnp.sqrt(v) + eps)
    return jax.tree.map(scale, updates, corrected), RMSState(count, nu)

  return optax.GradientTransformation(init, update)


def scale_by_momentum(
  beta: float, nesterov: bool
) -> optax.GradientTransformation:
  """Takes μ̂, the bias-corrected EMA of updates; Nesterov averages twice."""

  def init(params):
    zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
    return MomentumState(jnp.zeros((), jnp.int32), zeros)

  def update(updates, state, params=None):
    del params
    count = optax.safe_increment(state.count)
    mu = optax.tree.update_moment(updates, state.mu, beta, 1)
    ahead = optax.tree.update_moment(updates, mu, beta, 1) if nesterov else mu
    corrected = optax.tree.bias_correction(ahead, beta, count)
    return corrected, MomentumState(count, mu)

  return optax.GradientTransformation(init, update)


@OPTIMIZER.register('dreamer')
@takes(chain)
def dreamer(
  *,
  lr: Weight = 4e-5,
  eps: Epsilon = 1e-20,
  beta1: Decay = 0.9,
  beta2: Decay = 0.999,
  momentum: bool = True,
  nesterov: bool = False,
  **others,
) -> Scheduled:
  """Chains AGC -> RMS -> momentum -> weight decay -> learning rate.

  Args:
    eps: Added to the root of the mean square, which divides the gradient.
    beta2: Decay of the moving average of squared gradients.
    beta1: Decay of the momentum, a moving average of scaled gradients.
    momentum: Whether there is momentum; without, `beta1` and `nesterov` do
      nothing.
    nesterov: Looks ahead: averages the momentum with the newest gradient once
      more.

  Source: LaProp, Ziyin et al. 2020 (arXiv 2002.04839); AGC, Brock et al. 2021
    (arXiv 2102.06171); danijar/dreamerv3 `agent.py:_make_opt`, `opt.py`.
  """
  average = scale_by_momentum(beta1, nesterov) if momentum else optax.identity()
  return chain([scale_by_rms(beta2, eps), average], lr=lr, **others)
