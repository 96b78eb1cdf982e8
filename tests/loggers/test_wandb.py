import sys
import types

import numpy as np
import pytest

from dreamer_nnx.loggers.wandb import WandbLogger
from tests.loggers.videos import enlarged, moving_square, read_gif


class Run:
  """Stands in for the library's run, which needs the library."""

  def __init__(self, **options):
    self.options = options
    self.axes, self.logged, self.finished = [], [], False

  def define_metric(self, name, step_metric=None):
    self.axes.append((name, step_metric))

  def log(self, data):
    self.logged.append(data)

  def finish(self):
    self.finished = True


@pytest.fixture
def runs(monkeypatch):
  started = []

  def init(**options):
    started.append(Run(**options))
    return started[-1]

  library = types.ModuleType('wandb')
  library.init = init
  library.Video = lambda file, format: (format, file.read())
  monkeypatch.setitem(sys.modules, 'wandb', library)
  return started


def test_scalars_and_videos_are_logged_over_env_steps(tmp_path, runs):
  logger = WandbLogger(tmp_path / 'mine', project='p')
  video = moving_square(4, 3)
  logger.write(16, {'a': np.float32(0.5), 'text': 'ignored', 'v': video})
  logger.write(32, {'text': 'ignored'})
  logger.close()
  (run,) = runs
  assert run.options['project'] == 'p'
  assert run.options['name'] == 'mine'
  assert run.options['mode'] == 'offline'
  assert run.axes == [('env_steps', None), ('*', 'env_steps')]
  (data,) = run.logged
  kind, content = data.pop('v')
  np.testing.assert_array_equal(read_gif(content)[0], enlarged(video))
  assert (kind, data) == ('gif', {'a': 0.5, 'env_steps': 16})
  assert run.finished


def test_a_workdir_continues_its_run(tmp_path, runs):
  for workdir in ('a', 'a', 'b'):
    WandbLogger(tmp_path / workdir, mode='online').close()
  first, again, other = (run.options['id'] for run in runs)
  assert first == again != other
  assert {run.options['resume'] for run in runs} == {'allow'}


def test_unknown_mode_is_refused(tmp_path, runs):
  with pytest.raises(ValueError, match=r"mode = 'ofline'.*mean 'offline'"):
    WandbLogger(tmp_path, mode='ofline')
  assert not runs


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  with pytest.raises(ValueError, match=r"pip install 'dreamer_nnx\[wandb\]'"):
    WandbLogger(tmp_path)
