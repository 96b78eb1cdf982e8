"""Built-in objectives."""

from dreamer_nnx.objectives import barlow as barlow
from dreamer_nnx.objectives import cloning as cloning
from dreamer_nnx.objectives import disagreement as disagreement
from dreamer_nnx.objectives import dreamerpro as dreamerpro
from dreamer_nnx.objectives import infonce as infonce
from dreamer_nnx.objectives import masks as masks
from dreamer_nnx.objectives import rnd as rnd
