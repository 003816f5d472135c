"""A lean HTTP/1.1 server on asyncio and httptools: bytes to `Request`, `Reply` to bytes. No dialect knowledge.

Own rather than a framework because a fault laboratory must hold the connection itself (drop it before or after an
answer, send what is not HTTP), and because it starts in milliseconds. One `write` per answer; asyncio sets TCP_NODELAY.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

import httptools

_LOG = logging.getLogger(__name__)
MAX_BODY = 1_000_000
"""Largest accepted request body in bytes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `path` without the query, header names in lower case, `peer` the client's address."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = "127.0.0.1"

    def pairs(self) -> list[tuple[str, str]]:
        """The query as decoded pairs in the order sent."""
        return parse_qsl(self.query, keep_blank_values=True)

    def value(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in self.pairs() if key == name), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, ready to be sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"


def json_reply(status: int, content: object, headers: dict[str, str] | None = None) -> Reply:
    """An answer with a JSON body."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status, body, headers or {})


Answer = Reply | Awaitable[Reply]
"""An answer, or one that has to be waited for."""

Handler = Callable[[Request], Answer]


async def later(answer: Awaitable[Reply], change: Callable[[Reply], Reply]) -> Reply:
    """`change` done to an answer once it is there."""
    return change(await answer)


class HttpProtocol(asyncio.Protocol):
    """One connection: requests are answered in order. A handler that has to wait holds up its own connection only."""

    def __init__(self, handler: Handler, connections: set[HttpProtocol]) -> None:
        """Answer with `handler`; register in `connections` while open."""
        self._handler = handler
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._queue: deque[tuple[Request, bool]] = deque()
        self._waiting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection (called by asyncio)."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection (called by asyncio)."""
        del exc
        self._connections.discard(self)
        self._queue.clear()
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived (called by asyncio)."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._send(json_reply(400, {"message": "malformed HTTP request"}), keep_alive=False)

    # Called by the parser

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url, self._headers, self._body = b"", {}, bytearray()

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if len(self._body) <= MAX_BODY:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer the request."""
        keep_alive = bool(self._parser.should_keep_alive())
        if len(self._body) > MAX_BODY:
            self._send(json_reply(413, {"message": f"request body exceeds {MAX_BODY} bytes"}), keep_alive=False)
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        peer = self._transport.get_extra_info("peername") if self._transport is not None else None
        request = Request(
            self._parser.get_method().decode("ascii"),
            unquote(path),
            query,
            self._headers,
            bytes(self._body),
            peer[0] if peer else "",
        )
        self._queue.append((request, keep_alive))
        if self._waiting is None:
            self._answer_queue()

    def _answer_queue(self) -> None:
        """Answer what has been asked, up to an answer that has to be waited for."""
        while self._queue:
            request, keep_alive = self._queue.popleft()
            try:
                answer = self._handler(request)
            except Exception:  # noqa: BLE001 - logged with its traceback, and the client is told
                answer = _defect(request)
            if not isinstance(answer, Reply):
                self._waiting = asyncio.ensure_future(self._finish(request, answer, keep_alive=keep_alive))
                return
            self._send(answer, keep_alive=keep_alive)

    async def _finish(self, request: Request, answer: Awaitable[Reply], *, keep_alive: bool) -> None:
        try:
            reply = await answer
        except Exception:  # noqa: BLE001 - logged with its traceback, and the client is told
            reply = _defect(request)
        self._waiting = None
        self._send(reply, keep_alive=keep_alive)
        self._answer_queue()

    def _send(self, reply: Reply, *, keep_alive: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
        if reply.status != HTTPStatus.NO_CONTENT:
            lines += [f"Content-Type: {reply.content_type}", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        self._transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + reply.body)
        if not keep_alive:
            self._transport.close()


def _defect(request: Request) -> Reply:
    """A defect of this server must not end it; the client sees what a broken venue would send."""
    _LOG.exception("unhandled error in %s %s", request.method, request.path)
    return json_reply(500, {"code": 50010000, "message": "internal server error occurred"})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
