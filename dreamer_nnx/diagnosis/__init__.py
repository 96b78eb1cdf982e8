"""Diagnoses of a trained agent: its world model, its value, its losses.

Numbers of a checkpoint, its replay and a few episodes: `--mode=report` shows
them.
"""
