"""One small component of each slot, for `python -m dreamer_nnx.testing new`.

These files are copied with the name of the new component in place of `mine`.
They are not imported by anything.
"""
