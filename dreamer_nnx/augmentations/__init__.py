"""Built-in augmentations."""

from dreamer_nnx.augmentations import crop as crop
from dreamer_nnx.augmentations import random_shift as random_shift
