"""Environments of another process, by the files that are written for them."""

import ast
import contextlib
import importlib
import inspect
import json
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from dreamer_nnx.envs import playing
from dreamer_nnx.envs import trial as trials
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.envs.single import Options
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.testing import __main__ as program

# Without the packages that are installed for this one.
PYTHON = (sys.executable, '-I', '-S')
NAME = 'distant'
OLDEST = (3, 7)
# A server of other worlds, told by their methods.
WORLDS = """
import {name}_server
class World({name}_server.World):
{methods}
{name}_server.World = World
{name}_server.main()
"""
LOUD = "  def close(self): print('closed', flush=True)"


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp('remote')
  arguments = ['new', 'env', NAME, '--remote', '--folder', str(folder)]
  assert program.main(arguments) == 0
  return folder


@pytest.fixture(scope='module')
def client(files):
  sys.path.insert(0, str(files))
  yield importlib.import_module(NAME)
  sys.path.remove(str(files))


@pytest.fixture(scope='module')
def command(files):
  return shlex.join((*PYTHON, str(files / f'{NAME}_server.py')))


def worlds(files, methods):
  """Words that start a server whose worlds have these methods."""
  path = files / 'worlds.py'
  path.write_text(WORLDS.format(name=NAME, methods=methods), 'utf-8')
  return sys.executable, str(path)


@contextlib.contextmanager
def server(files, *options, port=0, words=()):
  """A server in a process of its own, and its address."""
  words = words or (*PYTHON, str(files / f'{NAME}_server.py'))
  # What runs in the background may ignore it, and so does what that starts.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  process = subprocess.Popen(
    [*words, '--listen', f'127.0.0.1:{port}', *options],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  signal.signal(signal.SIGINT, before)
  try:
    line = process.stdout.readline()
    found = re.fullmatch(r'listens on (.*)\n', line)
    assert found, line + process.communicate(timeout=60)[0]
    yield process, found[1]
  finally:
    process.kill()
    process.communicate()


@contextlib.contextmanager
def stub(*sent):
  """A server that sends these bytes and then nothing; its address."""
  with socket.create_server(('127.0.0.1', 0)) as listening:

    def run():
      connection, _ = listening.accept()
      with connection:
        for data in sent:
          connection.sendall(data)
        with contextlib.suppress(ConnectionError):
          connection.recv(100)
        done.wait(120)

    done = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    yield '{}:{}'.format(*listening.getsockname())
    done.set()
    thread.join()


def message(value, data=b'', claimed=None):
  text = json.dumps(value).encode()
  size = len(data) if claimed is None else claimed
  return struct.pack('>II', len(text), size) + text + data


def hello(**changes):
  space = {'type': 'box', 'low': 0, 'high': 9, 'shape': [3], 'dtype': 'float32'}
  spaces = {'observation': {'x': space}, 'action': {'x': space}}
  return message({'protocol': 1, **spaces, **changes})


def choice(**arguments):
  given = tuple(f'{name}={value!r}' for name, value in arguments.items())
  return Choice(ENV, 'custom', make=f'{NAME}:make', arguments=given)


def test_the_server_needs_an_old_python_and_nothing_else(files):
  tree = ast.parse(
    (files / f'{NAME}_server.py').read_text('utf-8'), feature_version=OLDEST
  )
  nodes = list(ast.walk(tree))
  imported = [x.names[0].name for x in nodes if isinstance(x, ast.Import)]
  assert imported and set(imported) <= sys.stdlib_module_names
  assert not [x for x in nodes if isinstance(x, ast.ImportFrom)]


def test_its_environments_keep_the_contract(client, command):
  make = lambda seed: make_vector_env(choice(command=command), 2, seed)
  trial = trials.run(make, 0, 120)
  assert trial.findings == []
  assert trial.account.ends
  assert sorted(trial.obs_space) == ['image', 'state']
  assert sorted(trial.action_space) == ['brake', 'push']


def test_the_test_that_is_written_passes(client, files):
  tests = importlib.import_module(f'test_{NAME}')
  tests.test_keeps_its_promises()
  tests.test_config_chooses_it()


def test_numbers_arrive_as_they_were_sent(client, command):
  env = client.make(command=command)
  obs, _ = env.reset(seed=3)
  assert obs['image'].shape == (16, 16, 1) and obs['image'].max() == 255
  assert env.observation_space.contains(obs)
  again, _ = env.reset(seed=3)
  assert again['state'].tolist() == obs['state'].tolist()
  other, _ = env.reset()
  assert other['state'].tolist() != obs['state'].tolist()
  action = env.action_space.sample()
  obs, reward, terminated, truncated, _ = env.step(action)
  assert env.observation_space.contains(obs)
  assert 0 <= reward <= 1 and not terminated and not truncated
  process = env._process
  env.close()
  # It left when its client did.
  assert process.returncode == 0


def act(envs, number):
  rng = np.random.default_rng(number)
  return playing.draw(envs.action_space, envs.num_envs, rng)


def test_a_server_that_is_lost_cuts_an_episode_and_is_found_again(
  client, files
):
  with server(files) as (_, address):
    envs = make_vector_env(choice(address=address), 1, 0)
    envs.reset()
    assert not envs.step(act(envs, 0))['is_last'].any()
  port = address.rpartition(':')[2]
  with server(files, port=port), contextlib.closing(envs):
    cut = envs.step(act(envs, 1))
    assert cut['is_last'].all() and envs.cut.all()
    assert not cut['is_terminal'].any()
    assert envs.step(act(envs, 2))['is_first'].all()
    assert not envs.step(act(envs, 3))['is_first'].any()
    assert envs.stats() == {'env/restarts': 1}


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_ended_closes_its_worlds(client, files, number):
  words = worlds(files, LOUD)
  with server(files, words=words) as (process, address):
    env = client.make(address=address)
    env.reset(seed=0)
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == 'closed\n'
    with pytest.raises(ConnectionError):
      env.step(env.action_space.sample())


def test_an_interrupt_leaves_the_server_of_an_environment(client, command):
  env = client.make(command=command)
  env.reset(seed=0)
  env._process.send_signal(signal.SIGINT)
  for _ in range(3):
    env.step(env.action_space.sample())
  env.close()


def test_a_single_robot_has_one_client(client, files):
  with server(files, '--limit=1') as (_, address):
    first = client.make(address=address)
    with pytest.raises(RuntimeError, match='busy: 1 clients are served'):
      client.make(address=address)
    first.reset(seed=0)
    first.close()
    client.make(address=address).close()


def test_what_fails_there_is_told_here(client, files):
  with server(files) as (_, address):
    env = client.make(address=address)
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="KeyError: 'brake'"):
      env.step({'push': [0.0]})
    env.close()
    # Others are served on.
    client.make(address=address).close()


@pytest.mark.parametrize(
  'fault',
  ["TimeoutError('no arm')", "OSError('no arm')", "SystemExit('no arm')"],
)
def test_any_fault_of_a_world_is_told_here(client, files, fault):
  words = worlds(files, f'  def step(self, action): raise {fault}')
  env = client.make(command=shlex.join(words))
  env.reset(seed=0)
  with pytest.raises(RuntimeError, match=f'{fault[:5]}.*no arm'):
    env.step(env.action_space.sample())
  env.close()


REFUSED = [
  ((hello(protocol=2),), 'protocol 2, not 1'),
  ((b'HTTP/1.1 400 Bad Request\r\n\r\n',), 'bytes is refused'),
  ((struct.pack('>II', 3, 0) + b'{}}',), 'this is no server of environments'),
  ((message({'error': 'on fire'}),), 'on fire'),
  ((message(3),), 'this is no server of environments'),
  ((message([1]),), 'this is no server of environments'),
  ((message({'protocol': 1, 'observation': {'y': {'type': 'x'}}}),), "'y' by"),
  ((), 'no answer within 0.5 seconds'),
]


def patience(told):
  """Seconds to wait for an answer; few where none will come."""
  return 0.5 if 'no answer' in told else 60.0


@pytest.mark.parametrize(('sent', 'told'), REFUSED)
def test_a_wrong_greeting_is_refused(client, sent, told):
  with stub(*sent) as address, pytest.raises(Exception, match=told) as error:
    client.make(address=address, start_timeout=patience(told))
  assert error.type in (ConnectionError, RuntimeError, ValueError)


OBSERVED = [
  (message({'obs': {'x': {'start': 0, 'size': 8}}}, bytes(8)), '8 bytes came'),
  (message({'obs': {'x': {'start': 4, 'size': 12}}}, bytes(12)), '12 bytes ca'),
  (message({'obs': {'x': [1, 2, 3]}}, claimed=2**31), 'bytes is refused'),
  (message({'obs': {'x': [1, 2, 3]}}, claimed=5), 'no answer within 0.5 sec'),
  (b'', 'no answer within 0.5 seconds'),
]


@pytest.mark.parametrize(('sent', 'told'), OBSERVED)
def test_a_wrong_observation_is_refused(client, sent, told):
  with stub(hello(), sent) as address:
    env = client.make(address=address, timeout=patience(told))
    with pytest.raises(ConnectionError, match=told):
      env.reset(seed=0)
    env.close()


def test_an_answer_that_is_late_is_not_taken_for_another(client):
  with stub(hello()) as address:
    env = client.make(address=address, timeout=0.3)
    with pytest.raises(ConnectionError, match='no answer within'):
      env.reset(seed=0)
    with pytest.raises(ConnectionError, match='the connection is closed'):
      env.reset(seed=0)


@pytest.mark.parametrize('value', [0.5, 300, -1, '3', None])
def test_what_is_not_of_its_space_is_refused_as_it_came(client, value):
  space = {'type': 'box', 'low': 0, 'high': 9, 'shape': [2], 'dtype': 'uint8'}
  described = hello(observation={'y': space})
  with stub(described, message({'obs': {'y': [value, 1]}})) as address:
    envs = make_vector_env(choice(address=address), 1, 0)
    with (
      contextlib.closing(envs),
      pytest.raises(EnvError, match=f'{value!r} is not in its space Box'),
    ):
      envs.reset()


def test_numbers_of_the_wire_are_little_endian(client):
  sent = message(
    {'obs': {'x': {'start': 4, 'size': 12}}}, struct.pack('<4f', 9, 1, 2, 3)
  )
  with stub(hello(), sent) as address:
    env = client.make(address=address)
    obs, _ = env.reset()
    env.close()
  assert obs['x'].tolist() == [1, 2, 3] and obs['x'].flags.writeable


@pytest.mark.parametrize(
  ('sent', 'told'),
  [
    (struct.pack('>II', 2**30, 0), b'bytes is refused'),
    (message({'do': 'delete'}), b"no such request: 'delete'"),
    (struct.pack('>II', 2, 0) + b'}{', b'JSONDecodeError'),
  ],
)
def test_the_server_refuses_what_it_does_not_know(files, sent, told):
  with server(files) as (_, address):
    host, _, port = address.rpartition(':')
    with socket.create_connection((host, int(port)), 10) as connection:
      connection.sendall(sent)
      data = b''
      while part := connection.recv(2**16):
        data += part
    assert told in data


def test_no_server_and_no_connection_back_are_told(client):
  with socket.create_server(('127.0.0.1', 0)) as closed:
    port = closed.getsockname()[1]
  with pytest.raises(ConnectionError, match=f'no server at 127.0.0.1:{port} '):
    client.make(address=f'127.0.0.1:{port}', start_timeout=0.3)
  idle = shlex.join((*PYTHON, '-c', 'pass'))
  with pytest.raises(ConnectionError, match='did not connect within 0'):
    client.make(command=idle, start_timeout=0.5)


def test_all_restarts_have_time_before_a_worker_is_killed(client):
  seconds = inspect.signature(client.make).parameters['start_timeout'].default
  assert (Options().max_restarts + 1) * seconds < Options().step_timeout


def test_a_server_that_fails_at_its_start_is_told_at_once(client):
  failing = shlex.join((*PYTHON, '-c', 'raise SystemExit(3)'))
  with pytest.raises(ConnectionError, match='it ended with status 3'):
    client.make(command=failing, start_timeout=30.0)


@pytest.mark.parametrize(
  'given',
  [
    *({'address': x} for x in ('7000', 'robot', ':7000', 'a:b', 'a:99999')),
    *({'timeout': x} for x in (0, -1.0, float('nan'), 'x')),
    {'start_timeout': float('inf')},
  ],
)
def test_a_wrong_argument_is_named(client, given):
  ((name, value),) = given.items()
  with pytest.raises(ValueError, match=f'{name} = {value!r}: must be'):
    client.make(**given)


@pytest.mark.parametrize(
  ('flag', 'status', 'told'),
  [
    ('--listen=7000', 2, "--listen: '7000' is not HOST:PORT"),
    ('--listen=robot:x', 2, "--listen: 'robot:x' is not HOST:PORT"),
    ('--limit=0', 2, "--limit: '0' is not 1 or more"),
    ('--listen=127.0.0.1:{}', 1, '^cannot listen on .* in use\n$'),
  ],
)
def test_a_wrong_flag_of_the_server_is_named(command, flag, status, told):
  with socket.create_server(('127.0.0.1', 0)) as taken:
    words = [*shlex.split(command), flag.format(taken.getsockname()[1])]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
  assert ended.returncode == status and re.search(told, ended.stderr)


def test_addresses_of_ipv6_are_in_brackets(client, files):
  module = importlib.import_module(f'{NAME}_server')
  for parse in (client._parse, module.parse):
    assert parse('[::1]:7000') == ('::1', 7000)
    assert parse('localhost:7000') == ('localhost', 7000)


def test_other_components_have_no_server(tmp_path, capsys):
  arguments = ['new', 'encoder', 'x', '--remote', '--folder', str(tmp_path)]
  assert program.main(arguments) == 2
  assert '--remote: is for environments' in capsys.readouterr().err
