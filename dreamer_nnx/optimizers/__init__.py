"""Built-in optimisers: optax transformations over a flat dict of parameters."""

from dreamer_nnx.optimizers import adamw as adamw
from dreamer_nnx.optimizers import dreamer as dreamer
