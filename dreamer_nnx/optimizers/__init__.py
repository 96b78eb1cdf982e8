"""Built-in optimisers: optax transformations over a flat dict of parameters."""

from dreamer_nnx.optimizers import adamw as adamw
from dreamer_nnx.optimizers import dreamer as dreamer
from dreamer_nnx.optimizers import lion as lion
from dreamer_nnx.optimizers import muon as muon
