"""The lock of a workdir in a bucket: one owner, who has to be alive."""

import json
import threading

import pytest

from dreamer_nnx import paths
from dreamer_nnx.training import lease as leases
from dreamer_nnx.training.lease import Lease, LeaseError
from dreamer_nnx.training.workdir import WorkdirError, lock_workdir


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


def test_one_that_is_renewed_is_of_a_living_owner(path):
  put(path, renewals=0)
  ended = threading.Event()

  def renew():
    count = 0
    while not ended.wait(0.5):
      put(path, renewals=(count := count + 1))

  thread = threading.Thread(target=renew)
  thread.start()
  try:
    with (
      pytest.raises(WorkdirError, match='process 7 on there trains in it'),
      lock_workdir(path.parent),
    ):
      pass
  finally:
    ended.set()
    thread.join()
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
    for _ in range(100):
      if json.loads(path.read_bytes())['renewals'] > first['renewals']:
        break
      threading.Event().wait(0.1)
    assert json.loads(path.read_bytes())['renewals'] > first['renewals']
    owner.check()
    put(path, token='other')
    with pytest.raises(WorkdirError, match='process 7 on there trains in it'):
      for _ in range(100):
        owner.check()
        threading.Event().wait(0.1)
  assert json.loads(path.read_bytes())['token'] == 'other'


def test_garbage_is_no_lease(path):
  paths.write(path, b'\xff[')
  lease = Lease(path)
  lease.close()


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
  threading.Event().wait(1.5)
  alive = []
  for lease in holders:
    try:
      lease.check()
      alive.append(lease)
    except LeaseError:
      continue
  assert len(alive) == 1
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
