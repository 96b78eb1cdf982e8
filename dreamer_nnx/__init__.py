"""DreamerV3 as a modular toolkit in JAX and Flax NNX."""

__version__ = '0.1.0'
