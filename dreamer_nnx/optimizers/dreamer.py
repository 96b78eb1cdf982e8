"""The optimiser of DreamerV3: LaProp with adaptive gradient clipping."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dreamer_nnx.optimizers.clipping import clip_by_agc
from dreamer_nnx.optimizers.decay import weight_decay
from dreamer_nnx.optimizers.schedules import learning_rate, scheduled
from dreamer_nnx.slots import OPTIMIZER


class RMSState(NamedTuple):
  count: jax.Array
  nu: optax.Params


class MomentumState(NamedTuple):
  count: jax.Array
  mu: optax.Params


def scale_by_rms(beta: float, eps: float) -> optax.GradientTransformation:
  """g / (√ν̂ + ε), ν the EMA of g², ν̂ bias-corrected."""

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
  """μ̂, the bias-corrected EMA of the updates; Nesterov averages twice."""

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
def dreamer(
  *,
  lr: float = 4e-5,
  agc: float = 0.3,
  eps: float = 1e-20,
  beta1: float = 0.9,
  beta2: float = 0.999,
  momentum: bool = True,
  nesterov: bool = False,
  wd: float = 0.0,
  wdregex: str = r'/kernel$',
  schedule: str = 'const',
  warmup: int = 1000,
  anneal: int = 0,
) -> optax.GradientTransformation:
  """AGC -> RMS -> momentum -> weight decay -> learning rate.

  Args:
    lr, schedule, warmup, anneal: See `schedules.learning_rate`.
    agc: See `clipping.clip_by_agc`.
    eps, beta2: Of the RMS scaling.
    beta1, momentum, nesterov: Of the momentum, off where `momentum` is.
    wd, wdregex: See `decay.weight_decay`.

  Source: danijar/dreamerv3 `agent.py:_make_opt`, `opt.py`.
  """
  return scheduled(
    clip_by_agc(agc),
    scale_by_rms(beta2, eps),
    scale_by_momentum(beta1, nesterov) if momentum else optax.identity(),
    weight_decay(wd, wdregex),
    schedule=learning_rate(lr, schedule, warmup, anneal),
  )
