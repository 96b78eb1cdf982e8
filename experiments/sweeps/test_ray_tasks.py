"""Jobs in tasks of Ray: made, stopped, taken up and reported."""

import signal
import subprocess
import sys

import pytest

from experiments.jobs.launching import ROOT
from experiments.jobs.made import wait_for

RUN = """
import pathlib, sys
from experiments.jobs import made
from experiments.jobs.launching import Job
from experiments.sweeps.ray_tasks import RayLauncher
folder, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
jobs = [made.counter(folder, name, end) for name in 'abc']
command = [sys.executable, '-c', 'raise SystemExit("bad luck")']
jobs.insert(0, Job('bad', command, folder / 'bad.log', made.never))
launch = RayLauncher(9, {'num_cpus': 1, 'num_gpus': 0})
print('done', launch(jobs), 'failed', [x.name for x in launch.failed])
"""
END = 400


def start(folder):
  command = [sys.executable, '-c', RUN, str(folder), str(END)]
  return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def count(folder, name):
  file = folder / f'{name}.txt'
  return int(file.read_text()) if file.exists() else 0


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_tasks_are_stopped_and_go_on(tmp_path, number):
  process = start(tmp_path)
  log = tmp_path / 'a.log'
  wait_for(lambda: log.exists() and 'at 3' in log.read_text(), process, 300)
  process.send_signal(number)
  out, _ = process.communicate(timeout=600)
  if number == signal.SIGTERM:
    assert "done 0 failed ['bad']" in out and 'can go on' in out
  wait_for(lambda: count(tmp_path, 'a') > 0)
  assert count(tmp_path, 'a') < END
  out, _ = start(tmp_path).communicate(timeout=600)
  assert "done 3 failed ['bad']" in out and 'failed with status 1' in out
  lines = log.read_text().splitlines()
  assert lines == [f'at {i + 1}' for i in range(END)]
