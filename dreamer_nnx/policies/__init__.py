"""Built-in policies."""

from dreamer_nnx.policies import masked as masked
from dreamer_nnx.policies import mlp as mlp
