"""Components for dreamer_nnx; importing this registers them."""

from dreamer_example import pooled as pooled

# The version of the contracts that they are made for.
DREAMER_NNX_CONTRACTS = 2
