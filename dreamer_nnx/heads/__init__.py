"""Built-in heads: output layers from activations to distributions."""

from dreamer_nnx.heads import binned as binned
from dreamer_nnx.heads import continuous as continuous
from dreamer_nnx.heads import discrete as discrete
