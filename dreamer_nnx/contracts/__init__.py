"""Interfaces of the slots: Protocols that products satisfy, not base classes.

`agent` has those of an agent's components, `run` those around it, and
`records` what components are handed.
"""

from dreamer_nnx.contracts.agent import (
  Augmentation,
  Behavior,
  Carry,
  Decoder,
  Dynamics,
  Encoder,
  Entry,
  Feat,
  Head,
  Joint,
  Losses,
  Memory,
  Metrics,
  Normalizer,
  Objective,
  Observation,
  Optimizer,
  Output,
  Policy,
  Signals,
  Stochastic,
  Weighting,
)
from dreamer_nnx.contracts.records import (
  Action,
  Context,
  Dream,
  Observed,
  Replayed,
  World,
)
from dreamer_nnx.contracts.run import (
  CONSEC,
  Callback,
  Footprint,
  Logger,
  Replay,
  Selector,
  VectorEnv,
)

__all__ = [
  'CONSEC',
  'VERSION',
  'Action',
  'Augmentation',
  'Behavior',
  'Callback',
  'Carry',
  'Context',
  'Decoder',
  'Dream',
  'Dynamics',
  'Encoder',
  'Entry',
  'Feat',
  'Footprint',
  'Head',
  'Joint',
  'Logger',
  'Losses',
  'Memory',
  'Metrics',
  'Normalizer',
  'Objective',
  'Observation',
  'Observed',
  'Optimizer',
  'Output',
  'Policy',
  'Replay',
  'Replayed',
  'Selector',
  'Signals',
  'Stochastic',
  'VectorEnv',
  'Weighting',
  'World',
]

# The version of what is promised here; a plugin may name the one it is for.
VERSION = 2
