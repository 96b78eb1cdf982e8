"""Callbacks: the built-ins of the slot `CALLBACK`."""

from dreamer_nnx.callbacks import episode_limit

__all__ = ['episode_limit']
