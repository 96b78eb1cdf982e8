"""Replays; importing one registers it."""

from dreamer_nnx.replay import chunked as chunked
