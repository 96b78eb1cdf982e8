"""Parts of `python -m experiments.sweep`."""
