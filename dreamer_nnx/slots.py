"""The architecture on one screen: what can be swapped, and what it is given.

A slot's `home` is the package whose `__init__` lists the built-ins; `given` is
what the toolkit passes to every builder of the slot (a builder takes those it
names); the other keyword-only arguments of a builder are its config fields.
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
DECODER = Slot(
  'decoder',
  home='dreamer_nnx.decoders',
  given=('obs_space', 'latent_space', 'precision', 'rngs'),
  builds=contracts.Decoder,
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
  ),
  builds=contracts.Replay,
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
  DECODER,
  HEAD,
  NORMALIZER,
  OPTIMIZER,
  ENV,
  REPLAY,
  LOGGER,
)
