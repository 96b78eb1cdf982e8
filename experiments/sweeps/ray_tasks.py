"""Jobs as tasks of Ray, on one machine or on all of a cluster.

The cluster is that of `dreamer_nnx.envs.ray_actors`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dreamer_nnx.envs import ray_actors
from experiments.jobs.launching import (
  LOOK,
  ROOT,
  STOPPED_TEXT,
  STOPPING,
  Job,
  Launcher,
  Say,
  say,
  signals_to,
)


def work(job: Job) -> tuple[int, str]:
  """Runs a job: 1 if it is finished, and why it failed, if it did."""
  done = Launcher(1)([job])
  return done, job.problem


class RayLauncher:
  """Runs jobs as `Launcher` does, each in a task of Ray.

  Args:
    parallel: How many tasks there are at the same time, at most.
    resources: Of each task, as options of Ray.
    say: Is told what happens.
  """

  def __init__(
    self, parallel: int, resources: Mapping[str, float], say: Say = say
  ):
    self.parallel, self.resources, self.say = parallel, resources, say
    self.stopped = False
    self.failed: list[Job] = []

  def __call__(self, jobs: Sequence[Job]) -> int:
    """Runs them; returns how many were finished by it or before."""
    ray = connect()
    task = ray.remote(work)
    options = {'max_retries': 0, **self.resources}
    waiting, running, done, cancelled = list(jobs), {}, 0, False
    with signals_to(self._stop):
      while (waiting and not self.stopped) or running:
        while waiting and not self.stopped and len(running) < self.parallel:
          job = waiting.pop(0)
          own = task.options(name=job.name, **options)
          running[own.remote(job)] = job
        if self.stopped and not cancelled:
          cancelled = True
          self.say(STOPPING)
          for reference in running:
            ray.cancel(reference)
        ended, _ = ray.wait(list(running), timeout=LOOK)
        for reference in ended:
          done += self._collect(ray, reference, running.pop(reference))
    return done

  def _collect(self, ray: Any, reference: Any, job: Job) -> int:
    """Takes in the result of a task; returns 1 if its job is finished."""
    try:
      done, job.problem = ray.get(reference)
    except ray.exceptions.TaskCancelledError:
      done = 0
    except ray.exceptions.RayError as error:
      done, job.problem = 0, f'its task was lost ({error})'
    if done:
      self.say(f'{job.name}: is finished.')
    elif job.problem:
      self.failed.append(job)
      self.say(f'{job.name}: {job.problem}')
    else:
      self.say(f'{job.name}: {STOPPED_TEXT}')
    return done

  def _stop(self, number: int, frame: object) -> None:
    del number, frame
    self.stopped = True


def connect() -> Any:
  """Joins a cluster, whose workers find this checkout; returns the package.

  Raises:
    EnvError: Ray is missing or cannot start.
  """
  path = filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))
  env = {'env_vars': {'PYTHONPATH': os.pathsep.join(path)}}
  return ray_actors.join('--backend=ray', runtime_env=env)
