"""Training, evaluation, checkpoints, and what they show on the way."""
