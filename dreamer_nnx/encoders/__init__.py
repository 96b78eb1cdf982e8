"""Built-in encoders."""

from dreamer_nnx.encoders import simple as simple
