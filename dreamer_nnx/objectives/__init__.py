"""Built-in objectives."""

from dreamer_nnx.objectives import masks as masks
