"""What a trained agent's world model, value and losses are good for.

Numbers of a checkpoint, its replay and a few episodes: `--mode=report` shows
them.
"""
