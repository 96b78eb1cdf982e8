"""Checks of the parts of a state that are drawn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import slots
from dreamer_nnx.checks.tracing import FLOATS, expect_array, traced
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import (
  expect,
  expect_equal,
  expect_finite,
  promising,
)
from dreamer_nnx.testing.live import Live, abstractly, slopes

LEAD = (toys.ROWS, toys.LENGTH)


def check_stochastic(component: toys.Component, **fields: Any) -> None:
  """Checks a stochastic part: draws, divergence, and what replay stores.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(slots.STOCHASTIC, component)
  choice = toys.choice(slots.STOCHASTIC, component, fields)
  with promising(name):
    for precision in toys.PRECISIONS:

      def build(precision=precision):
        part = toys.build(choice, precision=precision)
        sizes = part.posterior_size, part.prior_size
        shapes = [jax.ShapeDtypeStruct((*LEAD, n), jnp.float32) for n in sizes]
        trace = lambda *params: _check_shapes(part, *params)
        traced(choice.path, 'its distributions', trace, *shapes)

      abstractly(build)
    live = Live(lambda: toys.build(choice, precision=toys.FLOAT32))
  part = live.abstract
  posterior = toys.floats((*LEAD, part.posterior_size), 0)
  prior = toys.floats((*LEAD, part.prior_size), 1)
  result = live.call(_draw, posterior, prior)
  expect_finite(name, result, 'draws and divergences')
  promise = '`unpack` is the exact inverse of `pack`'
  back = {'sample': result['unpacked']}
  expect_equal(name, back, {'sample': result['sample']}, promise)
  promise = 'the KL of a posterior to a prior is not below 0'
  expect(name, (result['kl'] >= -1e-5).all(), promise)
  slopes = live.call(_slopes, posterior, prior)
  for key, slope in slopes.items():
    expect(name, np.any(slope), 'samples and KL have gradients', key)


def _check_shapes(part: Any, posterior: jax.Array, prior: jax.Array) -> None:
  shape, key = (*LEAD, *part.shape), jax.random.key(0)
  for kind, params in (('posterior', posterior), ('prior', prior)):
    made = getattr(part, kind)(params)
    value = made.sample(key)
    expect_array(value, shape, FLOATS, f'`sample` of `{kind}`')
    expect_array(made.entropy(), LEAD, FLOATS, f'`entropy` of `{kind}`')
  kl = part.posterior(posterior).kl(part.prior(prior))
  expect_array(kl, LEAD, FLOATS, '`kl` of posterior and prior')
  packed = part.pack(value)
  entry = (*LEAD, *part.entry.shape)
  expect_array(packed, entry, part.entry.dtype, '`pack`')
  expect_array(part.unpack(packed), shape, FLOATS, '`unpack`')


def _draw(part: Any, posterior: jax.Array, prior: jax.Array) -> dict:
  made = part.posterior(posterior)
  sample = made.sample(jax.random.key(0))
  # Straight-through draws are a class but for rounding.
  exact = part.unpack(part.pack(sample))
  kl = made.kl(part.prior(prior))
  again = part.unpack(part.pack(exact))
  return {'sample': exact, 'unpacked': again, 'kl': kl, 'drawn': sample}


def _slopes(part: Any, posterior: jax.Array, prior: jax.Array) -> dict:
  draw = lambda x: toys.functional(part.posterior(x).sample(jax.random.key(0)))
  kl = lambda x, y: part.posterior(x).kl(part.prior(y)).sum()
  by_posterior, by_prior = slopes(kl, posterior, prior)
  return {
    'sample by posterior': slopes(draw, posterior)[0],
    'KL by posterior': by_posterior,
    'KL by prior': by_prior,
  }
