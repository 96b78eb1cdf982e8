"""Timing programs. START is read before anything large is imported."""

import time

START = time.perf_counter()
