"""Figures of the documentation, each made of the logs of runs."""
