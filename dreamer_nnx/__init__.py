"""DreamerV3 as a modular toolkit in JAX and Flax NNX."""

from dreamer_nnx.errors import UserError

__all__ = ['UserError']
__version__ = '0.1.0'
