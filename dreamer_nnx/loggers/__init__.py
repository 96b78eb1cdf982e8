"""Built-in loggers: terminal, jsonl, tensorboard, wandb."""

from dreamer_nnx.loggers import jsonl, tensorboard, terminal, wandb
