"""Layers: Linear, convolutions, norms and the stacks made of them."""
