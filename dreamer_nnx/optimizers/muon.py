"""Muon from optax behind the clipping and schedules of the default."""

import functools
import math
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax
from optax import contrib

from dreamer_nnx.errors import UserError
from dreamer_nnx.optimizers.chain import chain
from dreamer_nnx.optimizers.schedules import Decay, Scheduled
from dreamer_nnx.schema import Count, Epsilon, Weight
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import OPTIMIZER

# Axes of the matrices in a kernel, by its rank: dense (in, out); blocks (G, in,
# out), a matrix each; convolutions (h, w, in, out), one matrix of patches.
AXES = {
  2: contrib.MuonDimensionNumbers(0, 1),
  3: contrib.MuonDimensionNumbers(1, 2),
  4: contrib.MuonDimensionNumbers((0, 1, 2), 3),
}
MUON, ADAM = 'muon', 'adam'


@OPTIMIZER.register('muon')
@takes(chain)
def muon(
  *,
  lr: Weight = 1e-4,
  beta: Decay = 0.95,
  nesterov: bool = True,
  steps: Count = 5,
  rms: Weight = 0.2,
  others: str = r'/heads?/|/out/',
  others_rate: Weight = 1.0,
  beta1: Decay = 0.9,
  beta2: Decay = 0.999,
  eps: Epsilon = 1e-8,
  **around,
) -> Scheduled:
  """Chains AGC -> Muon or Adam -> weight decay -> learning rate.

  The momentum M of a kernel becomes the nearest semi-orthogonal matrix, by
  Newton-Schulz iterations: M = U S Vᵀ becomes about U Vᵀ. Block kernels (G, in,
  out) are G matrices, convolutions (h, w, in, out) one matrix (h w in, out).
  All that is no kernel learns by Adam, and so do output layers.

  Args:
    lr: Learning rate after the warm-up.
    beta: Decay of the momentum of kernels, the moving average of gradients.
    nesterov: Whether that momentum looks one update ahead.
    steps: Newton-Schulz iterations.
    rms: Root mean square of the updates of a kernel, as of Adam, so that one
      learning rate suits both; 0 scales them by √max(1, out / in) instead.
    others: Regular expression found in the names of kernels that learn by
      Adam, too.
    others_rate: Learning rate of what learns by Adam, as a multiple of `lr`.
    beta1: Decay of Adam's momentum.
    beta2: Decay of Adam's moving average of squared gradients.
    eps: Added to the root mean square that Adam divides by.
    around: See `chain.chain`.

  Raises:
    UserError: `others` is no regular expression.

  Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); Liu et al.
    2025 (arXiv 2502.16982).
  """
  try:
    regex = re.compile(others)
  except re.error as error:
    what = f'is no regular expression: {error}.'
    raise UserError(what, 'others', others) from error
  labels = functools.partial(_labels, regex)
  orthogonal = contrib.scale_by_muon(
    ns_steps=steps,
    beta=beta,
    mu_dtype=jnp.float32,
    nesterov=nesterov,
    weight_dimension_numbers=_axes,
  )
  by_label = {
    MUON: optax.chain(orthogonal, _scale_by_shape(rms)),
    ADAM: optax.scale_by_adam(beta1, beta2, eps, mu_dtype=jnp.float32),
  }
  factors = lambda params: {
    name: 1.0 if label == MUON else others_rate
    for name, label in labels(params).items()
  }
  return chain([optax.partition(by_label, labels)], factors, lr=lr, **around)


def _labels(others: re.Pattern, params: Mapping[str, Any]) -> dict[str, str]:
  """Says by name which of the two a parameter learns by."""
  kernel = lambda name, x: (
    name.rpartition('/')[2] == 'kernel'
    and x.ndim in AXES
    and not others.search(name)
  )
  return {k: MUON if kernel(k, x) else ADAM for k, x in params.items()}


def _axes(updates: Mapping[str, Any]) -> dict[str, Any]:
  """Dimension numbers of the kernels among updates of which some are masked."""
  masked = lambda x: isinstance(x, optax.MaskedNode)
  return {k: x if masked(x) else AXES[x.ndim] for k, x in updates.items()}


def _scale_by_shape(rms: float) -> optax.GradientTransformation:
  """Multiplies by rms √max(in, out), or with 0 by √max(1, out / in)."""

  def scaled(x):
    if isinstance(x, optax.MaskedNode):
      return x
    batch = x.shape[0] if x.ndim == 3 else 1
    fan_out = x.shape[-1]
    fan_in = x.size // fan_out // batch
    larger = rms * math.sqrt(max(fan_in, fan_out))
    return x * (larger if rms else math.sqrt(max(1, fan_out / fan_in)))

  return optax.stateless(
    lambda updates, params: {k: scaled(x) for k, x in updates.items()}
  )
