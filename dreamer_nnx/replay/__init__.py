"""Replays; importing one registers it."""

from dreamer_nnx.replay import chunked as chunked
from dreamer_nnx.replay import dataset as dataset
from dreamer_nnx.replay import mixture as mixture
