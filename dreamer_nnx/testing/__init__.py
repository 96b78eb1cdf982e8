"""Checks for your own components, one for each slot.

    from dreamer_nnx import testing

    def test_keeps_its_promises():
      testing.check_encoder('my_module:Mine', units=8)

A check builds the component for small spaces, and raises `Broken`, which says
the promise of the contract that is not kept. `python -m dreamer_nnx.testing`
runs all of them, on everything that is registered.
"""

from dreamer_nnx.testing.broken import Broken
from dreamer_nnx.testing.dynamics import check_dynamics
from dreamer_nnx.testing.model import (
  check_decoder,
  check_encoder,
  check_head,
  check_policy,
)

__all__ = [
  'Broken',
  'check_decoder',
  'check_dynamics',
  'check_encoder',
  'check_head',
  'check_policy',
]
