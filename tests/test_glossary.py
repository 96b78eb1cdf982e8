"""docs/metrics.md has every metric that is logged, and no other."""

import re
from unittest import mock

import gymnasium
import numpy as np
import pytest

from dreamer_nnx.training.loop import Trainer
from tests import breaking
from tests.launcher import ROOT, arguments, launch
from tests.test_divergence import FLOAT16, ONCE

ROW = re.compile(r'\| ((?:`\S+` ?)+) \| [^|]+ \| [^|]*\|')


class Logged(breaking.Once):
  """An environment with numbers of its own for the log."""

  observation_space = gymnasium.spaces.Dict(
    {
      'vector': breaking.Once.observation_space,
      'log/hits': gymnasium.spaces.Box(0, 9, (), np.float32),
    }
  )

  def look(self):
    return {'vector': super().look(), 'log/hits': np.float32(1)}


def glossary():
  """The names of the table's first column."""
  lines = (ROOT / 'docs' / 'metrics.md').read_text().splitlines()
  rows = [line for line in lines if line.startswith('| `')]
  found = []
  for row in rows:
    match = ROW.fullmatch(row)
    assert match, row
    found += re.findall('`(.+?)`', match[1])
  assert len(found) == len(set(found)) > 50
  return found


def pattern(name):
  return re.compile(re.sub('<[a-z]+>', r'[^/]+', name))


@pytest.fixture(scope='module')
def logged(tmp_path_factory):
  """Names from a run with images, in float16, one that goes back, and one
  that trains on the data of the first before it acts; that is started twice."""
  names = set()

  def log(self, metrics):
    names.update(self.frames.metrics(self.env_steps), metrics)

  breaking.Once.steps = 0
  runs = ('images', 'back', 'offline')
  workdirs = [tmp_path_factory.mktemp(name) for name in runs]
  images = FLOAT16 | {'evaluate__every': 30, 'evaluate__sampled': 'true'}
  logs = {
    'env__custom__make': 'tests.test_glossary:Logged',
    'env__custom__control_rate': 1000.0,
  }
  offline = {
    'replay__name': 'mixture',
    'replay__mixture__share': 0.5,
    'replay__mixture__data__dataset__path': workdirs[0] / 'replay',
    'train__offline': 4,
    'train__act_async': True,
  }
  every = images, ONCE | logs, offline
  with mock.patch.object(Trainer, 'log', log):
    again = workdirs[2], offline
    for workdir, changes in (*zip(workdirs, every, strict=True), again):
      result = launch(arguments(workdir, **changes))
      assert result.status == 0, result.err
  return names


def test_what_is_logged_is_in_the_glossary(logged):
  patterns = list(map(pattern, glossary()))
  known = lambda name: any(x.fullmatch(name) for x in patterns)
  assert not [name for name in sorted(logged) if not known(name)]


def test_what_is_in_the_glossary_is_logged(logged):
  patterns = {name: pattern(name) for name in glossary()}
  found = lambda x: any(x.fullmatch(name) for name in logged)
  assert not [name for name, x in patterns.items() if not found(x)]
