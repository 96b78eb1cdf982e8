"""Curves of this agent and of the reference, at equal settings."""
