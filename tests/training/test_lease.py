"""The lock of a workdir in a bucket: one owner, who has to be alive."""

import contextlib
import functools
import json
import threading
from unittest import mock

import pytest

from dreamer_nnx import paths
from dreamer_nnx.training import lease as leases
from dreamer_nnx.training.lease import Lease, LeaseError
from dreamer_nnx.training.workdir import WorkdirError, lock_workdir
from tests.training.waiting import wait_for


@pytest.fixture
def path(store, request):
  return paths.parse(f'gs://bkt/{request.node.name}', 'path') / '.lock'


@pytest.fixture(autouse=True)
def short(monkeypatch):
  monkeypatch.setattr(leases, 'LASTS', 3.0)
  monkeypatch.setattr(leases, 'RENEWED', 0.5)


def put(path, **fields):
  found = {'owner': 'process 7 on there', 'host': 'there', 'pid': 7}
  paths.write(path, json.dumps(found | fields).encode())


def test_a_lease_is_given_back(path):
  for _ in range(2):
    lease = Lease(path)
    assert lease.holds and path.exists()
    lease.check()
    lease.close()
    assert not path.exists()


def test_one_that_is_renewed_is_of_a_living_owner(path, monkeypatch):
  put(path, renewals=0)
  # Of a clock whose seconds pass as it is waited for them.
  clock, passed = mock.Mock(), [0.0]
  clock.monotonic = lambda: passed[-1]

  def sleep(seconds):
    passed.append(passed[-1] + seconds)
    put(path, renewals=len(passed))

  clock.sleep = sleep
  timed = functools.partial(Lease, clock=clock)
  monkeypatch.setattr(leases, 'Lease', timed)
  with (
    pytest.raises(WorkdirError, match='process 7 on there trains in it'),
    lock_workdir(path.parent),
  ):
    pass
  assert passed == [0.0, 1.0]
  assert json.loads(path.read_bytes())['host'] == 'there'


def test_one_that_is_not_renewed_is_taken_over_and_said(path, capsys):
  put(path)
  lease = Lease(path)
  assert 'was left by process 7 on there, or is held by it' in (
    capsys.readouterr().out
  )
  assert json.loads(path.read_bytes())['pid'] != 7
  lease.close()


def test_one_of_a_process_here_that_is_gone_is_taken_at_once(path, capsys):
  lease = Lease(path)
  mine = json.loads(path.read_bytes())
  lease.close()
  put(path, **mine | {'pid': 2**22 + 1})
  lease = Lease(path)
  lease.close()
  assert capsys.readouterr().out == ''


def test_an_owner_renews_and_notices_that_it_lost_it(path):
  with lock_workdir(path.parent) as owner:
    first = json.loads(path.read_bytes())
    renewals = lambda: json.loads(path.read_bytes())['renewals']
    wait_for(lambda: renewals() > first['renewals'])
    owner.check()

    def lost():
      # Once more each time: a renewal on its way would hide it.
      put(path, token='other')
      owner.check()

    with pytest.raises(WorkdirError, match='process 7 on there trains in it'):
      wait_for(lost)
  assert json.loads(path.read_bytes())['token'] == 'other'


def test_garbage_is_no_lease(path):
  paths.write(path, b'\xff[')
  lease = Lease(path)
  lease.close()


def alive(holders):
  found = []
  for lease in holders:
    with contextlib.suppress(LeaseError):
      lease.check()
      found.append(lease)
  return found


def test_two_at_once_are_one(path):
  put(path)
  results = []

  def take():
    try:
      results.append(Lease(path))
    except LeaseError as error:
      results.append(error)

  threads = [threading.Thread(target=take) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  holders = [x for x in results if isinstance(x, Lease)]
  assert holders
  wait_for(lambda: len(alive(holders)) < 2)
  renewals = lambda: json.loads(path.read_bytes())['renewals']
  before = renewals()
  # Who has it goes on to hold it.
  wait_for(lambda: renewals() > before + 1)
  assert len(alive(holders)) == 1
  for lease in holders:
    lease.close()


def test_one_that_was_created_by_a_call_tried_again_is_held(path, monkeypatch):
  whole, calls = paths.create, []

  def create(path, data):
    calls.append(path)
    whole(path, data)
    # The first answer was lost.
    whole(path, data)

  monkeypatch.setattr(paths, 'create', create)
  lease = Lease(path)
  assert calls and lease.holds
  lease.close()
  assert not path.exists()


def test_that_of_another_is_left_alone_at_the_end(path):
  lease = Lease(path)
  put(path, token='other')
  lease.close()
  assert json.loads(path.read_bytes())['token'] == 'other'
