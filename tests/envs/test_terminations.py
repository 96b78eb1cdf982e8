"""A SIGTERM to every process of a job is left to the main one."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from dreamer_nnx.envs import single
from tests.envs.games import Counter

ACTION = {'action': np.zeros(2, np.int32)}


class Starts(gymnasium.Wrapper):
  """Starts and terminates processes in each step, in any thread."""

  def step(self, action):
    thread = threading.Thread(target=self._start)
    self._start()
    thread.start()
    thread.join()
    return self.env.step(action)

  def _start(self):
    endless = 'import time; time.sleep(1000)'
    program = subprocess.Popen([sys.executable, '-c', endless])
    if not (forked := os.fork()):
      signal.pause()
      os._exit(1)
    program.terminate()
    os.kill(forked, signal.SIGTERM)
    assert program.wait(20) == -signal.SIGTERM
    assert os.WTERMSIG(os.waitpid(forked, 0)[1]) == signal.SIGTERM


def vector(make):
  options = single.Options(workers='async', step_timeout=60.0)
  return single.vectorize(make, options, num_envs=2, seed=0, where='config.env')


@pytest.fixture
def counters():
  env = vector(lambda index: Counter())
  yield env
  env.close()
  assert not multiprocessing.active_children()


def terminate_all():
  workers = {child.pid for child in multiprocessing.active_children()}
  assert len(workers) == 2
  # Where the system tells it, also the server, which is what started them.
  stats = [Path(f'/proc/{pid}/stat') for pid in workers]
  servers = {int(x.read_text().split()[3]) for x in stats if x.exists()}
  for pid in workers | servers - {os.getpid()}:
    os.kill(pid, signal.SIGTERM)


def test_workers_go_on_and_can_be_replaced(counters):
  counters.reset()
  terminate_all()
  step = counters.step(ACTION)
  assert step['vector'][:, 1].tolist() == [1, 1]
  assert not step['is_last'].any() and not counters.stats()['env/restarts']
  victim = multiprocessing.active_children()[0]
  victim.kill()
  victim.join()
  assert counters.step(ACTION)['is_last'].sum() == 1
  counters.step(ACTION)
  assert counters.stats() == {'env/restarts': 1.0}


def test_what_an_environment_starts_is_terminated_by_it():
  env = vector(lambda index: Starts(Counter()))
  try:
    env.reset()
    assert env.step(ACTION)['vector'][:, 1].tolist() == [1, 1]
    assert not env.stats()['env/restarts']
  finally:
    env.close()


def test_another_user_of_the_server_may_terminate_what_it_has_started(counters):
  other = multiprocessing.get_context('forkserver').Process(target=signal.pause)
  other.start()
  other.terminate()
  other.join(20)
  assert other.exitcode == -signal.SIGTERM
