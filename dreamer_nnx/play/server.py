"""The page of a player, for this machine alone.

Its address has a token that nobody else knows. Requests for another host, from
another page, or without the token are refused, and a second player is, too.
"""

import hmac
import importlib.resources
import secrets
import socket
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dreamer_nnx.errors import UserError
from dreamer_nnx.play.session import Session

HOST = '127.0.0.1'
NAMES = (HOST, 'localhost')
# Of a message of the page.
MAX_BYTES = 2**16
# Nothing of the page comes from elsewhere, or goes there.
POLICY = (
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
  "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
  "frame-ancestors 'none'"
)
HEADERS = {
  'Content-Security-Policy': POLICY,
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
}
# Of WebSockets: what a close means.
REFUSED, TAKEN = 1008, 4000


class Door:
  """Rules of who may come in.

  Args:
    port: Of the address.
    token: In the path of the address.
  """

  def __init__(self, port: int, token: str):
    self.token = token
    self._hosts = {f'{name}:{port}' for name in NAMES}
    self._origins = {f'http://{host}' for host in self._hosts}

  def refuses(self, connection: HTTPConnection) -> str:
    """Says why a request is refused; empty if it is not."""
    host = connection.headers.get('host', '')
    if host not in self._hosts:
      return 'This page is for this machine alone: use the address as printed.'
    origin = connection.headers.get('origin')
    asked = connection.scope['type'] == 'websocket'
    if (asked or origin is not None) and origin not in self._origins:
      return 'This page is not opened from other pages.'
    token = connection.path_params.get('token', '')
    if not hmac.compare_digest(token.encode(), self.token.encode()):
      return 'The address is not the one that was printed: its token differs.'
    return ''


def application(session: Session, door: Door) -> Starlette:
  """The page and its WebSocket."""
  page = importlib.resources.files('dreamer_nnx.play') / 'page.html'
  text = page.read_text('utf-8')
  seat = _Seat(session)

  async def show(request: Request) -> Response:
    if why := door.refuses(request):
      return PlainTextResponse(why, 403, HEADERS)
    return HTMLResponse(text, headers=HEADERS)

  async def play(socket: WebSocket) -> None:
    if door.refuses(socket):
      await socket.close(REFUSED)
      return
    await socket.accept()
    await seat.play(socket)

  async def elsewhere(request: Request, error: Exception) -> Response:
    del request, error
    text = 'There is nothing here. Use the address that was printed.'
    return PlainTextResponse(text, 404, HEADERS)

  routes = [Route('/{token}/', show), WebSocketRoute('/{token}/play', play)]
  return Starlette(routes=routes, exception_handlers={404: elsewhere})


class _Seat:
  """The place of the one player."""

  def __init__(self, session: Session):
    self._session, self._taken = session, False
    self._alone = None

  async def play(self, socket: WebSocket) -> None:
    """Answers one player until the page is closed; refuses further ones."""
    if self._taken:
      text = 'Somebody plays already, on another page. Close that one first.'
      await socket.send_json({'error': text})
      await socket.close(TAKEN)
      return
    self._taken = True
    try:
      await socket.send_json(await self._ask(self._session.about))
      while True:
        await socket.send_json(await self._answer(socket))
    except WebSocketDisconnect:
      pass
    finally:
      self._taken = False

  async def _answer(self, socket: WebSocket) -> dict[str, Any]:
    try:
      request = await socket.receive_json()
    # Bytes instead of text; or brackets without end.
    except (ValueError, KeyError, RecursionError):
      return {'error': 'That was no JSON.'}
    try:
      return await self._ask(self._session.answer, request)
    except UserError as error:
      return {'error': str(error)}

  async def _ask(self, function: Callable[..., Any], *values: Any) -> Any:
    # One thread at a time: a page may have gone while a step was computed.
    if self._alone is None:
      self._alone = anyio.CapacityLimiter(1)
    return await anyio.to_thread.run_sync(
      function, *values, limiter=self._alone
    )


def listen(port: int) -> socket.socket:
  """Opens the port on this machine alone; 0 for any free one.

  Raises:
    UserError: It is in use, or not allowed.
  """
  listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((HOST, port))
  except OSError as error:
    listener.close()
    raise UserError(
      f'cannot be opened ({error.strerror}). Name another, or 0 for any.',
      '--port',
      port,
    ) from error
  return listener


def serve(
  session: Session, listener: socket.socket, write: Callable[[str], None]
) -> None:
  """Serves the page until Ctrl-C."""
  door = Door(listener.getsockname()[1], secrets.token_urlsafe(16))
  write(
    f'Open http://{HOST}:{listener.getsockname()[1]}/{door.token}/ in a '
    'browser of this machine. Ctrl-C ends it.'
  )
  config = uvicorn.Config(
    application(session, door),
    log_level='warning',
    access_log=False,
    server_header=False,
    ws_max_size=MAX_BYTES,
    timeout_graceful_shutdown=2,
  )
  uvicorn.Server(config).run(sockets=[listener])
