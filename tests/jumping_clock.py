"""Runs the launcher while the clock of the machine jumps back and forth."""

import itertools
import time

from dreamer_nnx import main

HOUR = 3_600.0

if __name__ == '__main__':
  now, now_ns, turn = time.time, time.time_ns, itertools.count()
  jump = lambda: (0, -3, 2)[next(turn) % 3] * HOUR
  time.time = lambda: now() + jump()
  time.time_ns = lambda: now_ns() + int(jump() * 1e9)
  main.run()
