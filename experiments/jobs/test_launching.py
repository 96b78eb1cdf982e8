"""Jobs: what is started, taken up, waited for and reported."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.jobs import launching
from experiments.jobs.launching import ROOT, STOPPED, Job, Launcher, conclude
from experiments.jobs.made import counter, never, wait_for


def failing(folder, code):
  command = [sys.executable, '-c', code]
  return Job('bad', command, folder / 'bad.log', lambda: False)


def launch(jobs, parallel=1, say=lambda text: None):
  said = []
  launcher = Launcher(parallel, lambda text: (said.append(text), say(text)))
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


@pytest.mark.parametrize('place', ['file/a.log', 'folder'])
def test_a_log_that_cannot_be_written_is_a_failure(tmp_path, place):
  (tmp_path / 'file').write_text('')
  (tmp_path / 'folder').mkdir()
  command = [sys.executable, '-c', '']
  jobs = [counter(tmp_path, 'a', 20)]
  jobs.append(Job('bad', command, tmp_path / place, never))
  jobs.append(counter(tmp_path, 'b', 1))
  done, launcher, said = launch(jobs, 2)
  assert done == 2 and [job.name for job in launcher.failed] == ['bad']
  assert 'bad: cannot be started' in said and str(tmp_path / place) in said
  assert conclude(done, 3, launcher.failed, lambda text: None) == 1


def test_files_that_cannot_be_read_are_a_failure(tmp_path):
  looks = []

  def finished():
    looks.append(1)
    if len(looks) > 1:
      raise PermissionError('not yours')
    return False

  job = Job('bad', [sys.executable, '-c', ''], tmp_path / 'bad.log', finished)
  done, launcher, said = launch([job, counter(tmp_path, 'a', 1)])
  assert done == 1 and launcher.failed == [job] and 'not yours' in said


def test_a_job_that_cannot_be_spawned_is_a_failure(tmp_path):
  jobs = [failing(tmp_path, ''), counter(tmp_path, 'a', 1)]
  jobs[0].folder = tmp_path / 'nowhere'
  done, launcher, said = launch(jobs)
  assert done == 1 and len(launcher.failed) == 1 and 'nowhere' in said


def stop_when(ready, number, then=lambda: None):
  """Sends a signal to this process once something is so."""

  def stop():
    wait_for(ready)
    os.kill(os.getpid(), number)
    then()

  thread = threading.Thread(target=stop)
  thread.start()
  return thread


# Says so where a signal would still end it.
UNPREPARED = 'import time; print("here", flush=True); time.sleep(60)'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_what_is_stopped_while_it_starts_can_go_on(tmp_path, number):
  job = failing(tmp_path, UNPREPARED)
  ready = lambda: job.log.exists() and 'here' in job.log.read_text()
  thread = stop_when(ready, number)
  done, launcher, said = launch([job, counter(tmp_path, 'a', 1)])
  thread.join()
  assert launcher.stopped and not launcher.failed and 'can go on' in said
  assert said.count('Stopping') == 1 and not (tmp_path / 'a.log').exists()
  assert conclude(done, 2, launcher.failed, lambda text: None) == STOPPED


def test_what_another_kills_is_a_failure(tmp_path):
  code = 'import os; os.kill(os.getpid(), 15)'
  done, launcher, said = launch([failing(tmp_path, code)])
  assert not done and len(launcher.failed) == 1 and 'SIGTERM' in said


# Tells of each signal, and ends a while after a file is there.
COUNTING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))
print('here', flush=True)
while not os.path.exists(sys.argv[1]):
  time.sleep(0.01)
time.sleep(1)
sys.exit(75)
"""


def test_each_job_is_told_once_however_often_the_launcher_is(tmp_path):
  jobs, twice = [failing(tmp_path, COUNTING)], tmp_path / 'twice'
  jobs[0].command.append(str(twice))
  log = jobs[0].log
  ready = lambda: log.exists() and 'here' in log.read_text()
  told = lambda: ready() and 'told' in log.read_text()
  threads = [stop_when(ready, signal.SIGTERM)]
  threads.append(stop_when(told, signal.SIGINT, twice.touch))
  _, launcher, said = launch(jobs)
  for thread in threads:
    thread.join()
  assert not launcher.failed and log.read_text() == 'here\ntold\n'
  assert said.count('Stopping') == 1


def test_a_signal_at_the_start_of_a_job_reaches_it(tmp_path, monkeypatch):
  spawn = launching.spawn

  def interrupted(*arguments):
    process = spawn(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
    return process

  monkeypatch.setattr(launching, 'spawn', interrupted)
  begin = time.monotonic()
  _, launcher, said = launch([failing(tmp_path, UNPREPARED)])
  assert time.monotonic() - begin < 30
  assert launcher.stopped and not launcher.failed and 'can go on' in said


LAUNCH = """
import pathlib, sys
from experiments.jobs import launching, made
folder, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
until = folder / 'released' if 'held' in sys.argv else None
jobs = [made.counter(folder, x, end, until) for x in 'ab']
launching.Launcher(2, print)(jobs)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_what_is_killed_goes_on(tmp_path, number):
  process = subprocess.Popen(
    [sys.executable, '-c', LAUNCH, str(tmp_path), '200'], cwd=ROOT
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
  # Whose jobs go on until it is said that they are waited for.
  command = [sys.executable, '-c', LAUNCH, str(tmp_path), '20', 'held']
  other = subprocess.Popen(command, cwd=ROOT)
  wait_for(lambda: (tmp_path / 'b.log').exists(), other)
  wait_for(lambda: 'at' in (tmp_path / 'b.log').read_text(), other)

  def release(text):
    if 'another process' in text:
      (tmp_path / 'released').touch()

  done, _, said = launch([counter(tmp_path, 'b', 20)], say=release)
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
