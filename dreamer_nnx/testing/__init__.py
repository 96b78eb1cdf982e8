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
from dreamer_nnx.testing.experience import check_replay, check_selector
from dreamer_nnx.testing.learning import (
  check_augmentation,
  check_behavior,
  check_objective,
  check_weighting,
)
from dreamer_nnx.testing.model import (
  check_decoder,
  check_encoder,
  check_head,
  check_policy,
)
from dreamer_nnx.testing.running import (
  check_callback,
  check_env,
  check_logger,
)
from dreamer_nnx.testing.stochastic import check_stochastic
from dreamer_nnx.testing.training import check_normalizer, check_optimizer

__all__ = [
  'Broken',
  'check_augmentation',
  'check_behavior',
  'check_callback',
  'check_decoder',
  'check_dynamics',
  'check_encoder',
  'check_env',
  'check_head',
  'check_logger',
  'check_normalizer',
  'check_objective',
  'check_optimizer',
  'check_policy',
  'check_replay',
  'check_selector',
  'check_stochastic',
  'check_weighting',
]
