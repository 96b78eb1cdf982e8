"""Built-in dynamics."""

from dreamer_nnx.dynamics import rssm as rssm
