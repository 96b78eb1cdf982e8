"""Arithmetic of a function: its matrix products and convolutions."""

import math

from jax.extend.core import jaxprs_in_params


def count(jaxpr) -> int:
  """Floating-point operations of all products, loops times their trips."""
  total = 0
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'dot_general':
      (contract, _), _ = eqn.params['dimension_numbers']
      inner = math.prod(eqn.invars[0].aval.shape[axis] for axis in contract)
      total += 2 * inner * math.prod(eqn.outvars[0].aval.shape)
    elif eqn.primitive.name == 'conv_general_dilated':
      kernel = eqn.invars[1].aval.shape
      outputs = eqn.params['dimension_numbers'].rhs_spec[0]
      taps = math.prod(kernel) // kernel[outputs]
      total += 2 * taps * math.prod(eqn.outvars[0].aval.shape)
    trips = eqn.params.get('length', 1)
    total += trips * sum(map(count, jaxprs_in_params(eqn.params)))
  return total
