"""Built-in normalisers."""

from dreamer_nnx.normalizers import running as running
