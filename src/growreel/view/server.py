"""An HTTP server of the standard library, with bounds: so many at once, so many bytes, so many seconds, then the connection is closed.

Every connection carries one request, so that none is held open for nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from growreel.errors import GrowreelError
from growreel.view.door import Door

LOG = logging.getLogger(__name__)
MOST_AT_ONCE = 64
MOST_ADDRESS, MOST_HEAD, MOST_BODY = 4096, 2**15, 2**16
ASKING_SECONDS, ANSWERING_SECONDS, SLOT_SECONDS = 10.0, 120.0, 10.0
"""For sending a request, for making and taking its answer, and for waiting until one of `MOST_AT_ONCE` is done."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Refused(Exception):
    """A request that gets no answer but a status and a sentence."""

    def __init__(self, status: HTTPStatus, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


@dataclass(frozen=True)
class Asked:
    """A request as the application sees it.

    Attributes:
        path: as in the address, without what is behind the question mark.
        values: what is behind it; of several of one name the last.
        body: the JSON of a request that changes something, else None.
        is_wanted: whether the client is still there.
        known: the tag of the answer that it has already.
    """

    path: str
    values: Mapping[str, str]
    body: dict[str, Any] | None
    is_wanted: Callable[[], bool]
    known: str | None = None


@dataclass(frozen=True)
class Reply:
    """Bytes of a media type; `tag` lets a client ask whether anything is new."""

    body: bytes
    kind: str = "application/json"
    tag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK


class ViewServer(ThreadingHTTPServer):
    """Listens at once. `answer` is called in a thread of each connection and raises Refused or GrowreelError for what cannot be had."""

    daemon_threads, block_on_close, request_queue_size, allow_reuse_address = True, False, 256, True

    def __init__(self, host: str, port: int, door: Door, answer: Callable[[Asked], Reply]) -> None:
        self.door, self.answer = door, answer
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._ends: dict[socket.socket, float] = {}
        self._closed = threading.Event()
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise GrowreelError(f"--host {host} --port {port}: cannot listen there ({error}); choose another port, or 0 for any") from error
        self.cookie = f"growreel-{self.server_address[1]}"
        threading.Thread(target=self._watch, daemon=True).start()

    def server_bind(self) -> None:
        """Bind without asking a name server what this machine is called, as the standard library would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, once there is room for one."""
        if not self._slots.acquire(timeout=SLOT_SECONDS):
            self.shutdown_request(request)
            return
        self.give(request, ASKING_SECONDS)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no more threads
            self._done(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._done(request)

    def server_close(self) -> None:
        self._closed.set()
        super().server_close()

    def give(self, connection: socket.socket, seconds: float) -> None:
        """Close a connection in so many seconds, however busy it is."""
        self._ends[connection] = time.monotonic() + seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go; what is a fault of ours is logged."""
        LOG.debug("a connection ended early", exc_info=True)

    def _done(self, connection: socket.socket) -> None:
        self._ends.pop(connection, None)
        self._slots.release()

    def _watch(self) -> None:
        while not self._closed.wait(0.25):
            now = time.monotonic()
            for connection, end in list(self._ends.items()):
                if now > end:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)


class _Bounded:
    """A stream that gives so many bytes and then fails."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self.left = stream, most

    def readline(self, limit: int = -1) -> bytes:
        return self._count(self._stream.readline(self.left + 1 if limit < 0 else min(limit, self.left + 1)))

    def read(self, count: int) -> bytes:
        return self._count(self._stream.read(count))

    def close(self) -> None:
        self._stream.close()

    def _count(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long")
        return data


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    timeout = ANSWERING_SECONDS

    def setup(self) -> None:
        super().setup()
        self.rfile = _Bounded(self.rfile, MOST_HEAD + MOST_BODY)  # type: ignore[assignment]

    def handle(self) -> None:
        try:
            super().handle()
        except Refused as refusal:
            self._refuse(refusal)

    def do_GET(self) -> None:
        self._respond(writes=False)

    def do_POST(self) -> None:
        self._respond(writes=True)

    def _respond(self, writes: bool) -> None:
        try:
            reply = self._reply(writes)
        except Refused as refusal:
            return self._refuse(refusal)
        except GrowreelError as error:
            return self._refuse(Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))
        except Exception:
            LOG.exception("%s: could not be answered", self.path)
            return self._refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of growreel; the terminal says more"))
        known = reply.tag is not None and self.headers.get("If-None-Match") == f'"{reply.tag}"'
        self._send(Reply(b"", reply.kind, reply.tag, status=HTTPStatus.NOT_MODIFIED) if known else reply)

    def _reply(self, writes: bool) -> Reply:
        door, parts = self.server.door, urlsplit(self.path)
        if len(self.path) > MOST_ADDRESS:
            raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        if not door.knows(self.headers.get("Host")) or len(self.headers.get_all("Host", [])) != 1:
            raise Refused(HTTPStatus.FORBIDDEN, "this name is not one of this viewer's; see --allow-host")
        values = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=64)) if parts.query else {}
        token = values.pop("token", None)
        if not door.may_read(token, self.headers.get("Cookie"), self.server.cookie):
            raise Refused(HTTPStatus.FORBIDDEN, "open the address with the token that growreel view has printed")
        if door.wide and token is not None and not writes:  # it goes into a cookie and out of sight
            crumb = f"{self.server.cookie}={door.token}; HttpOnly; SameSite=Strict"
            return Reply(b"", "text/plain", headers={"Location": "./", "Set-Cookie": crumb}, status=HTTPStatus.SEE_OTHER)
        body = self._body() if writes else None
        self.server.give(self.connection, ANSWERING_SECONDS)
        return self.server.answer(Asked(parts.path, values, body, self._is_wanted, self.headers.get("If-None-Match")))

    def _body(self) -> dict[str, Any]:
        """Read the JSON object of a request that changes something, once it is known where it comes from."""
        reason = self.server.door.may_write(dict(self.headers.items()))
        if reason is not None:
            raise Refused(HTTPStatus.FORBIDDEN, f"refused: {reason}")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or not length.isascii() or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "the length of the body is missing")
        if len(length) > 9 or int(length) > MOST_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MOST_BODY:,} bytes")
        try:
            tree = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is not JSON") from error
        if not isinstance(tree, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
        return tree

    def _is_wanted(self) -> bool:
        """Whether the client still waits; it has nothing to send, so what can be read is its end."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return not readable or bool(self.connection.recv(1, socket.MSG_PEEK))
        except (OSError, ValueError):
            return False

    def _refuse(self, refusal: Refused) -> None:
        self._send(Reply(json.dumps({"error": refusal.said}).encode(), status=refusal.status))

    def _send(self, reply: Reply) -> None:
        if not hasattr(self, "request_version"):
            self.request_version = "HTTP/1.0"
        self.send_response(reply.status)
        tag = {} if reply.tag is None else {"ETag": f'"{reply.tag}"'}
        length = {"Content-Type": reply.kind, "Content-Length": str(len(reply.body)), "Connection": "close"}
        for name, value in {**HEADERS, **length, **tag, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses, in our words."""
        self._refuse(Refused(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def version_string(self) -> str:
        return "growreel"

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing: addresses may hold a token."""
