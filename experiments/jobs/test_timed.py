"""Commands that are timed: to their end, or ended with what calls them."""

import json
import signal
import subprocess
import sys

from experiments.jobs import timed
from experiments.jobs.launching import ROOT, STOPPED
from experiments.jobs.made import wait_for


def test_time_and_status(tmp_path):
  log, times = tmp_path / 'log', tmp_path / 'times'
  for status in (0, 3):
    code = f'import os; print(os.environ["A"]); raise SystemExit({status})'
    command = [sys.executable, '-c', code]
    assert timed.call(command, log, times, {'A': 'b'}) == status
  assert log.read_text() == 'b\nb\n'
  assert timed.spent(times)['processor'] > 0
  assert len(times.read_text().splitlines()) == 2
  times.write_text('{"seconds": 2, "processor": 1}\n' * 2)
  assert timed.spent(times) == {'seconds': 4, 'processor': 2}
  assert timed.machine()['cores'] > 0


CALL = """
import pathlib, signal, sys
from experiments.jobs import made, timed
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
folder = pathlib.Path(sys.argv[1])
job = made.counter(folder, 'a', 400)
timed.call(job.command, job.log, folder / 'times', {})
"""


def test_what_is_stopped_stops_what_it_calls(tmp_path):
  command = [sys.executable, '-c', CALL, str(tmp_path)]
  process = subprocess.Popen(command, cwd=ROOT)
  log = tmp_path / 'a.log'
  wait_for(lambda: log.exists() and 'at 3' in log.read_text(), process)
  process.send_signal(signal.SIGTERM)
  assert process.wait(60) == STOPPED
  assert 0 < int((tmp_path / 'a.txt').read_text()) < 400
  assert json.loads((tmp_path / 'times').read_text())['seconds'] > 0
