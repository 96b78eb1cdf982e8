"""Who may play: the address, the host, the page, the seat."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from dreamer_nnx.errors import UserError
from dreamer_nnx.play import server

TOKEN = 'token-of-the-test'


class Said:
  """In place of a session."""

  def about(self):
    return {'agent': 'nobody'}

  def answer(self, request):
    if request == 'fail':
      raise UserError('is not known.', 'do', request)
    return {'said': request}


@pytest.fixture(scope='module')
def address():
  with server.listen(0) as listener, served(listener) as port:
    yield f'127.0.0.1:{port}'


@contextlib.contextmanager
def served(listener):
  port = listener.getsockname()[1]
  door = server.Door(port, TOKEN)
  config = uvicorn.Config(server.application(Said(), door), log_level='warning')
  running = uvicorn.Server(config)
  thread = threading.Thread(target=running.run, args=([listener],))
  thread.start()
  while not running.started:
    time.sleep(0.01)
  yield port
  running.should_exit = True
  thread.join()


def get(address, path, **headers):
  request = urllib.request.Request(f'http://{address}{path}', headers=headers)
  try:
    with urllib.request.urlopen(request) as reply:
      return reply.status, reply.read().decode(), reply.headers
  except urllib.error.HTTPError as error:
    return error.code, error.read().decode(), error.headers


def player(address, **how):
  how = {'origin': f'http://{address}'} | how
  return connect(f'ws://{address}/{TOKEN}/play', **how)


def test_the_page_is_shown_to_who_knows_the_address(address):
  status, text, headers = get(address, f'/{TOKEN}/')
  assert status == 200
  assert 'Dream player' in text
  assert "default-src 'none'" in headers['Content-Security-Policy']
  # Nothing is loaded from elsewhere.
  assert 'http' not in text.replace('http-equiv', '')


@pytest.mark.parametrize(
  ('path', 'headers', 'status', 'words'),
  [
    ('/', {}, 404, 'Use the address that was printed'),
    ('/other/', {}, 403, 'its token differs'),
    (f'/{TOKEN}x/', {}, 403, 'its token differs'),
    (f'/{TOKEN}/', {'Host': 'evil.example'}, 403, 'this machine alone'),
    (f'/{TOKEN}/', {'Origin': 'http://evil.example'}, 403, 'other pages'),
    (f'/{TOKEN}/', {'Origin': 'null'}, 403, 'other pages'),
  ],
)
def test_others_are_refused(address, path, headers, status, words):
  found, text, _ = get(address, path, **headers)
  assert found == status
  assert words in text
  assert TOKEN not in text


@pytest.mark.parametrize(
  'how',
  [
    {'origin': 'http://evil.example'},
    {'origin': None},
    {'additional_headers': {'Host': 'evil.example'}},
  ],
)
def test_other_pages_cannot_play(address, how):
  with pytest.raises(InvalidStatus), player(address, **how):
    pass


def test_a_second_player_is_told_to_wait(address):
  with player(address) as first:
    assert json.loads(first.recv()) == {'agent': 'nobody'}
    with player(address) as second:
      assert 'Somebody plays already' in json.loads(second.recv())['error']
      with pytest.raises(ConnectionClosed):
        second.recv()
    first.send('{"do": 1}')
    assert json.loads(first.recv()) == {'said': {'do': 1}}
  deadline = time.monotonic() + 60
  while time.monotonic() < deadline:
    with player(address) as third:
      if 'agent' in json.loads(third.recv()):
        return
  pytest.fail('the seat was not given back')


def test_errors_are_answers(address):
  with player(address) as page:
    page.recv()
    page.send('"fail"')
    assert json.loads(page.recv()) == {'error': "do = 'fail': is not known."}
    page.send('no json')
    assert json.loads(page.recv()) == {'error': 'That was no JSON.'}
    for message in (b'bytes', '[' * 60_000):
      page.send(message)
      assert json.loads(page.recv()) == {'error': 'That was no JSON.'}
    page.send('2')
    assert json.loads(page.recv()) == {'said': 2}


def test_a_port_in_use_is_said():
  with server.listen(0) as taken:
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f'--port = {port}: cannot be opened'):
      server.listen(port)
