"""Training: the loop, its jitted steps, meshes, checkpoints, evaluation."""
