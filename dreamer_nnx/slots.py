"""The architecture on one screen: what can be swapped, and what it is given.

A slot's `home` is the package whose `__init__` lists the built-ins; `given` is
what whoever builds a component of the slot passes, all of it (a builder takes
what it names); the other keyword-only arguments of a builder are its config
fields. `optional` methods are described in `contracts`, and called where a
product has them.
"""

from dreamer_nnx import contracts
from dreamer_nnx.registry import Slot

ENCODER = Slot(
  'encoder',
  home='dreamer_nnx.encoders',
  given=('obs_space', 'precision', 'rngs'),
  builds=contracts.Encoder,
)
DYNAMICS = Slot(
  'dynamics',
  home='dreamer_nnx.dynamics',
  given=('token_size', 'action_space', 'precision', 'rngs'),
  builds=contracts.Dynamics,
)
STOCHASTIC = Slot(
  'stochastic',
  home='dreamer_nnx.dynamics',
  given=('precision',),
  builds=contracts.Stochastic,
)
DECODER = Slot(
  'decoder',
  home='dreamer_nnx.decoders',
  given=('obs_space', 'feat_space', 'precision', 'rngs'),
  builds=contracts.Decoder,
)
BEHAVIOR = Slot(
  'behavior',
  home='dreamer_nnx.behaviors',
  given=(
    'obs_space',
    'action_space',
    'feat_space',
    'options',
    'precision',
    'rngs',
  ),
  builds=contracts.Behavior,
  optional=('after_update',),
)
POLICY = Slot(
  'policy',
  home='dreamer_nnx.policies',
  given=('feat_space', 'obs_space', 'action_space', 'precision', 'rngs'),
  builds=contracts.Policy,
)
OBJECTIVE = Slot(
  'objective',
  home='dreamer_nnx.objectives',
  given=(
    'obs_space',
    'stored_space',
    'action_space',
    'encoder',
    'token_size',
    'feat_space',
    'precision',
    'rngs',
  ),
  builds=contracts.Objective,
  optional=('reward', 'mask', 'after_update'),
)
WEIGHTING = Slot(
  'weighting',
  home='dreamer_nnx.weightings',
  given=('obs_space',),
  builds=contracts.Weighting,
  optional=('metrics',),
)
AUGMENTATION = Slot(
  'augmentation',
  home='dreamer_nnx.augmentations',
  given=('obs_space',),
  builds=contracts.Augmentation,
)
HEAD = Slot(
  'head',
  home='dreamer_nnx.heads',
  given=('input_size', 'space', 'precision', 'rngs'),
  builds=contracts.Head,
)
NORMALIZER = Slot(
  'normalizer',
  home='dreamer_nnx.normalizers',
  given=(),
  builds=contracts.Normalizer,
)
OPTIMIZER = Slot(
  'optimizer',
  home='dreamer_nnx.optimizers',
  given=(),
  builds=contracts.Optimizer,
  optional=('check_names',),
)
ENV = Slot(
  'env',
  home='dreamer_nnx.envs',
  given=('num_envs', 'seed'),
  builds=contracts.VectorEnv,
)
REPLAY = Slot(
  'replay',
  home='dreamer_nnx.replay',
  given=(
    'spaces',
    'num_envs',
    'batch_size',
    'batch_length',
    'directory',
    'seed',
    'process',
    'processes',
    'steps',
    'scratch',
    'context_needed',
    'signals',
  ),
  builds=contracts.Replay,
)
SELECTOR = Slot(
  'selector',
  home='dreamer_nnx.replay.selectors',
  given=('pool', 'context'),
  builds=contracts.Selector,
  optional=('update', 'state', 'restore'),
)
CALLBACK = Slot(
  'callback',
  home='dreamer_nnx.callbacks',
  given=(),
  builds=contracts.Callback,
  optional=('stepped', 'updated', 'state', 'restore'),
  one_of=('stepped', 'updated'),
)
LOGGER = Slot(
  'logger',
  home='dreamer_nnx.loggers',
  given=('workdir',),
  builds=contracts.Logger,
)

SLOTS = (
  ENCODER,
  DYNAMICS,
  STOCHASTIC,
  DECODER,
  BEHAVIOR,
  POLICY,
  OBJECTIVE,
  WEIGHTING,
  AUGMENTATION,
  HEAD,
  NORMALIZER,
  OPTIMIZER,
  ENV,
  REPLAY,
  SELECTOR,
  LOGGER,
  CALLBACK,
)
