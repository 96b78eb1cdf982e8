"""Built-in weightings of losses."""

from dreamer_nnx.weightings import fixed as fixed
from dreamer_nnx.weightings import harmony as harmony
