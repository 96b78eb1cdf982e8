"""Jobs in tasks of Ray: made, stopped, taken up and reported."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.jobs import made
from experiments.jobs.launching import ROOT, Job
from experiments.jobs.made import wait_for
from experiments.sweeps import ray_tasks
from experiments.sweeps.stand_in import Ray


@pytest.fixture
def stand_in(monkeypatch):
  ray = Ray()
  monkeypatch.setattr(ray_tasks, 'connect', lambda: ray)
  return ray


def launch(jobs, parallel):
  said = []
  resources = {'num_cpus': 2, 'num_gpus': 1}
  launcher = ray_tasks.RayLauncher(parallel, resources, said.append)
  return launcher(jobs), launcher, '\n'.join(said)


def bad(folder, code):
  command = [sys.executable, '-c', code]
  return Job('bad', command, folder / 'bad.log', made.never)


def test_tasks_have_their_resources_and_failures_are_told(tmp_path, stand_in):
  jobs = [bad(tmp_path, 'raise SystemExit("bad luck")')]
  jobs.append(made.counter(tmp_path, 'a', 2))
  done, launcher, said = launch(jobs, 1)
  assert done == 1 and [x.name for x in launcher.failed] == ['bad']
  assert 'bad: failed with status 1' in said and 'a: is finished.' in said
  resources = {'max_retries': 0, 'num_cpus': 2, 'num_gpus': 1}
  assert stand_in.options == [{'name': x.name} | resources for x in jobs]


def test_a_lost_task_is_a_failure(tmp_path, stand_in):
  code = 'import os; os.kill(os.getppid(), 9)'
  done, launcher, said = launch([bad(tmp_path, code)], 1)
  assert done == 0 and len(launcher.failed) == 1
  assert 'its task was lost (it died)' in said


def test_a_signal_has_all_tasks_save(tmp_path, stand_in):
  jobs = [made.counter(tmp_path, name, END) for name in 'abc']

  def end():
    logs = [tmp_path / f'{name}.log' for name in 'ab']
    wait_for(lambda: all(x.exists() and 'at 3' in x.read_text() for x in logs))
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=end)
  thread.start()
  done, launcher, said = launch(jobs, 2)
  thread.join()
  assert done == 0 and launcher.stopped and not launcher.failed
  assert said.count('can go on') == 2 and not (tmp_path / 'c.log').exists()
  assert all(0 < count(tmp_path, name) < END for name in 'ab')


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
END = 1_500


def start(folder):
  command = [sys.executable, '-c', RUN, str(folder), str(END)]
  return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def count(folder, name):
  file = folder / f'{name}.txt'
  return int(file.read_text()) if file.exists() else 0


def still(log, seconds=5):
  """The number of lines of a log that is no longer written."""
  lengths = [-1]

  def ended():
    lengths.append(len(log.read_text().splitlines()))
    time.sleep(seconds)
    return lengths[-1] == len(log.read_text().splitlines())

  wait_for(ended)
  return lengths[-1]


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
    assert 0 < count(tmp_path, 'a') < END
  else:
    # Ray kills what its workers have started.
    before = still(log)
    assert before < END and not count(tmp_path, 'a')
  out, _ = start(tmp_path).communicate(timeout=600)
  assert "done 3 failed ['bad']" in out and 'failed with status 1' in out
  lines = log.read_text().splitlines()
  again = before if number == signal.SIGKILL else 0
  expected = [*range(again), *range(END)]
  assert lines == [f'at {i + 1}' for i in expected]
