"""A process alone, and what is made of the answers of several."""

import re
import socket

import jax
import numpy as np
import pytest

from dreamer_nnx.errors import UserError
from dreamer_nnx.training import processes
from dreamer_nnx.training.evaluate import Returns
from dreamer_nnx.training.summaries import merged

pytestmark = pytest.mark.slow


def test_alone_everything_is_its_own():
  assert (processes.count(), processes.index(), processes.first()) == (
    1,
    0,
    True,
  )
  assert processes.local_share(6, 'x') == 6
  assert processes.anywhere(True) and not processes.anywhere(False)
  assert processes.gather({'a': 1}) == [{'a': 1}]
  stacked = processes.stack({'x': np.arange(3)})
  np.testing.assert_array_equal(stacked['x'], [[0, 1, 2]])
  whole = processes.to_host({'x': jax.numpy.arange(3)})
  assert type(whole['x']) is np.ndarray


def test_what_does_not_divide_is_named(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 4)
  assert processes.local_share(12, 'config.train.envs') == 3
  message = 'config.train.envs = 6: must be a multiple of the 4 processes.'
  with pytest.raises(ValueError, match=re.escape(message)):
    processes.local_share(6, 'config.train.envs')


def test_errors_of_the_first_are_raised():
  def fail():
    raise KeyError('x')

  assert processes.in_first(lambda: [1], KeyError) == [1]
  with pytest.raises(KeyError, match='x'):
    processes.in_first(fail, KeyError)


@pytest.mark.parametrize(
  'given, message',
  [
    (('a:1', None, 0), 'give all three, or none'),
    ((None, 2, None), 'give all three, or none'),
    (('a:1', 2, 2), r'--process_id = 2: must be in \[0, 2\)'),
    (('a:1', 2, -1), r'--process_id = -1: must be in \[0, 2\)'),
  ],
)
def test_wrong_places_are_refused_before_anything_is_joined(given, message):
  with pytest.raises(ValueError, match=message):
    processes.join(*given)


def test_summaries_of_processes_become_one():
  one = {
    'episode/count': 3.0,
    'episode/return': 2.0,
    'replay/steps': 10.0,
    'replay/train_ratio': 4.0,
    'env/restarts': 1.0,
    'rate/updates': 5.0,
  }
  two = one | {'episode/count': 1.0, 'episode/return': 6.0, 'rate/updates': 7.0}
  idle = {k: v for k, v in one.items() if k != 'episode/return'}
  idle |= {'episode/count': 0.0}
  assert merged([one]) == one
  assert merged([one, two, idle]) == {
    'episode/count': 4.0,
    'episode/return': 3.0,
    'replay/steps': 30.0,
    'replay/train_ratio': 4.0,
    'env/restarts': 3.0,
    'rate/updates': pytest.approx(17 / 3),
  }


class Counting:
  """Environments that say how their metrics are joined."""

  def joined(self, stats):
    return {'wins': sum(x['wins'] for x in stats)}


def test_environments_say_how_theirs_are_joined():
  stats = [{'wins': 2.0, 'rate/updates': 1.0}, {'wins': 3.0}]
  envs = Counting()
  assert merged(stats, envs) == {'wins': 5.0, 'rate/updates': 1.0}
  assert merged(stats[:1], envs) == stats[0]
  assert merged(stats)['wins'] == 2.5


def test_returns_are_joined_in_order():
  parts = [([1.0, 2.0], [3, 4], 1, ''), ([], [], 0, ''), ([5.0], [6], 2, '')]
  assert Returns.joined(parts) == Returns((1.0, 2.0, 5.0), (3, 4, 6), 3)


def test_deadlines_are_summed_and_the_latest_of_all_counts():
  one = {'env/missed_deadlines': 2.0, 'env/lateness_ms': 7.0}
  two = {'env/missed_deadlines': 3.0, 'env/lateness_ms': 4.0}
  assert merged([one, two]) == {
    'env/missed_deadlines': 5.0,
    'env/lateness_ms': 7.0,
  }


@pytest.mark.parametrize('known', [True, False])
def test_a_machine_whose_name_has_no_address_is_named(monkeypatch, known):
  def fail(flag):
    raise RuntimeError('gloo: rv == 0. -2 vs 0')

  def look(name, port):
    if not known:
      raise socket.gaierror(-2, 'Name or service not known')
    return [name]

  monkeypatch.setattr(jax.distributed, 'initialize', lambda *x, **y: None)
  monkeypatch.setattr(processes, 'anywhere', fail)
  monkeypatch.setattr(socket, 'gethostname', lambda: 'lost')
  monkeypatch.setattr(socket, 'getaddrinfo', look)
  lost = UserError, "name of this machine, 'lost', has no address.*/etc/hosts"
  kind, told = (RuntimeError, 'gloo') if known else lost
  with pytest.raises(kind, match=told):
    processes.join('a:1', 2, 0)
