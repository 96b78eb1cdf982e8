"""Built-in behaviours."""

from dreamer_nnx.behaviors import actor_critic as actor_critic
