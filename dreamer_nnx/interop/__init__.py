"""Import of runs of the reference implementation, danijar/dreamerv3."""
