"""Built-in behaviours."""

from dreamer_nnx.behaviors import actor_critic as actor_critic
from dreamer_nnx.behaviors import cem as cem
from dreamer_nnx.behaviors import constrained as constrained
