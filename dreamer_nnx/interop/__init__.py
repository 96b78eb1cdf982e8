"""Bringing a run of the reference, danijar/dreamerv3, to this project."""
