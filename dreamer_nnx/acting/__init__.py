"""Pieces that behaviours are made of: dreams, critics, policy gradients."""
