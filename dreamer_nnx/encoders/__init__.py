"""Built-in encoders."""

from dreamer_nnx.encoders import mlp as mlp
from dreamer_nnx.encoders import resnet as resnet
from dreamer_nnx.encoders import simple as simple
from dreamer_nnx.encoders import vit as vit
