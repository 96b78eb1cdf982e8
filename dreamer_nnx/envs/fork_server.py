"""Imported by the server that forks workers when it starts, and by no other.

There is no other way to have it leave a SIGTERM to the main process.
"""

from dreamer_nnx.envs import terminations

terminations.leave_to_main()
