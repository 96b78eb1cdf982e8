"""Signals: the first asks, the second ends."""

import os
import signal
import subprocess
import sys

import pytest

from dreamer_nnx.training.interrupt import Interrupt

TWICE = """
import os, signal
from dreamer_nnx.training.interrupt import Interrupt
with Interrupt() as stop:
  os.kill(os.getpid(), signal.SIGTERM)
  assert stop()
  print('asked', flush=True)
  os.kill(os.getpid(), signal.SIGTERM)
  print('never said')
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_first_signal_only_asks(number):
  with Interrupt() as stop:
    assert not stop()
    os.kill(os.getpid(), number)
    assert stop()


def test_handlers_are_put_back():
  before = signal.getsignal(signal.SIGTERM)
  with Interrupt():
    assert signal.getsignal(signal.SIGTERM) is not before
  assert signal.getsignal(signal.SIGTERM) is before


def test_second_signal_exits_at_once():
  result = subprocess.run(
    [sys.executable, '-c', TWICE], capture_output=True, text=True, check=False
  )
  assert result.returncode == 128 + signal.SIGTERM
  assert result.stdout == 'asked\n'


def test_second_signal_gives_a_terminal_its_cursor_back():
  reader, terminal = os.openpty()
  code = TWICE.replace("print('asked', flush=True)", '')
  process = subprocess.Popen([sys.executable, '-c', code], stdout=terminal)
  assert process.wait() == 128 + signal.SIGTERM
  os.close(terminal)
  assert os.read(reader, 100) == b'\033[?25h\r\n'
  os.close(reader)
