"""Built-in dynamics, and the parts of their states that are drawn."""

from dreamer_nnx.dynamics import gru as gru
from dreamer_nnx.dynamics import rssm as rssm
from dreamer_nnx.dynamics import ssm as ssm
from dreamer_nnx.dynamics import stochastic as stochastic
from dreamer_nnx.dynamics import transformer as transformer
