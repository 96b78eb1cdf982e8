"""Checks of components against their contracts, by traces without values.

Each is paid once, when a component is built. It makes one trace of each of its
functions with a few rows, and changes nothing of the component.
"""

from dreamer_nnx.checks.acting import check_behavior, check_policy
from dreamer_nnx.checks.learning import (
  check_augmentation,
  check_normalizer,
  check_objective,
  check_optimizer,
  check_trained_names,
  check_weighting,
)
from dreamer_nnx.checks.model import (
  Seen,
  check_dynamics,
  check_encoder,
  check_spaces,
  check_token_size,
)
from dreamer_nnx.checks.outputs import (
  ACTED,
  CONTINUES,
  LEARNED,
  check_decoder,
  check_head,
  check_predictor,
)

__all__ = [
  'ACTED',
  'CONTINUES',
  'LEARNED',
  'Seen',
  'check_augmentation',
  'check_behavior',
  'check_decoder',
  'check_dynamics',
  'check_encoder',
  'check_head',
  'check_normalizer',
  'check_objective',
  'check_optimizer',
  'check_policy',
  'check_predictor',
  'check_spaces',
  'check_token_size',
  'check_trained_names',
  'check_weighting',
]
