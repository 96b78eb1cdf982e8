"""Built-in decoders."""

from dreamer_nnx.decoders import none as none
from dreamer_nnx.decoders import resnet as resnet
from dreamer_nnx.decoders import simple as simple
