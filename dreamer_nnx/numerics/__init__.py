"""Pure functions of arrays: squashing, two-hot codes, returns, outputs."""
