"""Jobs: what is started, taken up, waited for and reported."""

import signal
import subprocess
import sys

import pytest

from experiments.jobs.launching import ROOT, STOPPED, Job, Launcher, conclude
from experiments.jobs.made import counter, wait_for


def failing(folder, code):
  command = [sys.executable, '-c', code]
  return Job('bad', command, folder / 'bad.log', lambda: False)


def launch(jobs, parallel=1):
  said = []
  launcher = Launcher(parallel, said.append)
  return launcher(jobs), launcher, '\n'.join(said)


def test_all_are_finished_once(tmp_path):
  jobs = [counter(tmp_path, name, 2) for name in 'abc']
  assert launch(jobs, parallel=2)[0] == 3
  done, _, said = launch(jobs)
  assert done == 3 and said.count('is finished') == 3
  assert (tmp_path / 'a.log').read_text() == 'at 1\nat 2\n'


@pytest.mark.parametrize(
  ('code', 'what'),
  [
    ('import sys; print("x"); sys.exit("no such thing")', 'no such thing'),
    ('import os; os.kill(os.getpid(), 9)', 'killed by SIGKILL'),
    # It says that it is done, and is not.
    ('print("nothing to do")', 'nothing to do'),
  ],
)
def test_a_failure_does_not_stop_the_rest(tmp_path, code, what):
  jobs = [failing(tmp_path, code), counter(tmp_path, 'a', 1)]
  done, launcher, said = launch(jobs)
  assert done == 1 and [job.name for job in launcher.failed] == ['bad']
  assert what in said and str(tmp_path / 'bad.log') in said


def test_one_that_was_stopped_by_itself_does_not_stop_the_rest(tmp_path):
  jobs = [failing(tmp_path, f'raise SystemExit({STOPPED})')]
  jobs.append(counter(tmp_path, 'a', 1))
  done, launcher, said = launch(jobs)
  assert done == 1 and not launcher.failed and 'can go on' in said


LAUNCH = """
import pathlib, sys
from experiments.jobs import launching, made
jobs = [made.counter(pathlib.Path(sys.argv[1]), x, 200) for x in 'ab']
launching.Launcher(2, print)(jobs)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_what_is_killed_goes_on(tmp_path, number):
  process = subprocess.Popen(
    [sys.executable, '-c', LAUNCH, str(tmp_path)], cwd=ROOT
  )
  for log in (tmp_path / 'a.log', tmp_path / 'b.log'):
    wait_for(log.exists, process)
    wait_for(lambda log=log: 'at 3' in log.read_text(), process)
  process.send_signal(number)
  process.wait(60)
  # Even if the launcher had no time to end them.
  files = [tmp_path / f'{name}.txt' for name in 'ab']
  wait_for(lambda: all(file.exists() for file in files))
  assert all(0 < int(file.read_text()) < 200 for file in files)
  done, _, _ = launch([counter(tmp_path, name, 200) for name in 'ab'], 2)
  assert done == 2
  lines = (tmp_path / 'b.log').read_text().splitlines()
  assert lines == [f'at {i + 1}' for i in range(200)]


def test_what_another_runs_is_waited_for(tmp_path):
  command = [sys.executable, '-c', LAUNCH.replace('200', '20'), str(tmp_path)]
  other = subprocess.Popen(command, cwd=ROOT)
  wait_for(lambda: (tmp_path / 'b.log').exists(), other)
  wait_for(lambda: 'at' in (tmp_path / 'b.log').read_text(), other)
  done, _, said = launch([counter(tmp_path, 'b', 20)])
  assert done == 1 and 'another process' in said and 'begins' not in said
  assert other.wait(60) == 0


def test_the_end_of_what_failed_is_told(tmp_path):
  code = 'for i in range(99): print("line", i)\nraise SystemExit("bad luck")'
  jobs = [failing(tmp_path, code), counter(tmp_path, 'a', 1)]
  done, launcher, _ = launch(jobs)
  said = []
  assert conclude(done, 2, launcher.failed, said.append) == 1
  text = '\n'.join(said)
  assert '1 of 2 runs are finished, 1 failed.' in text
  assert 'bad: failed with status 1' in text and 'bad luck' in text
  assert 'line 98' in text and 'line 80' not in text
  assert conclude(1, 2, [], said.append) == STOPPED
  assert conclude(2, 2, [], said.append) == 0
