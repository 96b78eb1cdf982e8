"""Fails as all processes of a run do, of which the last is late.

python -m tests.training.leaving SECONDS COORDINATOR COUNT INDEX
"""

import sys
import time

from dreamer_nnx import explaining
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import processes


def main(seconds: str, address: str, count: str, index: str):
  processes.join(address, int(count), int(index))
  if int(index) == int(count) - 1:
    time.sleep(float(seconds))
  explaining.end_this_process(UserError('is wrong.', 'field', 3), debug=False)


if __name__ == '__main__':
  main(*sys.argv[1:])
