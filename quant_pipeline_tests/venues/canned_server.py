"""A tiny HTTP server on a raw socket that answers from a script, or misbehaves: hangs, drops, breaks off."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

DATE = format_datetime(datetime(2026, 3, 2, 15, 0, tzinfo=UTC), usegmt=True)


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Misbehaviour:
    """What a server can do instead of answering."""

    HANG = "accept, then never answer"
    DROP = "accept, then close without a byte"
    BREAK_OFF = "close in the middle of the body"
    NOT_HTTP = "answer with something that is not HTTP"


type Reaction = Answer | str
type Script = Callable[[Seen], Reaction]


def as_json(body: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; header names are written with underscores."""
    return Answer(status, json.dumps(body), {name.replace("_", "-"): value for name, value in headers.items()})


def html(status: int) -> Answer:
    """What a proxy sends."""
    return Answer(status, f"<html><body><h1>{status} from the proxy</h1></body></html>", content_type="text/html")


class CannedServer:
    """Serves connections in threads until closed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.seen: list[Seen] = []
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def posts(self) -> list[Seen]:
        return [one for one in self.seen if one.method == "POST"]

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(0.05)
            buffer = b""
            while not self._closing.is_set():
                request, buffer = self._read(connection, buffer)
                if request is None:
                    return
                self.seen.append(request)
                if not self._react(connection, self._script(request)):
                    return

    def _read(self, connection: socket.socket, buffer: bytes) -> tuple[Seen | None, bytes]:
        while not self._closing.is_set():
            head, found, rest = buffer.partition(b"\r\n\r\n")
            if found:
                first, *lines = head.decode().split("\r\n")
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                length = int(headers.get("content-length", "0"))
                if len(rest) >= length:
                    method, target, _ = first.split(" ")
                    return Seen(method, target, headers, rest[:length].decode()), rest[length:]
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return None, b""
            buffer += data
        return None, b""

    def _react(self, connection: socket.socket, reaction: Reaction) -> bool:
        if isinstance(reaction, Answer):
            connection.sendall(_encode(reaction))
            return True
        if reaction == Misbehaviour.HANG:
            self._closing.wait(timeout=30)
        elif reaction == Misbehaviour.BREAK_OFF:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
        elif reaction == Misbehaviour.NOT_HTTP:
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
        return False


def _encode(answer: Answer) -> bytes:
    body = answer.body.encode()
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(body)), "Date": DATE, **answer.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Canned\r\n{head}\r\n".encode() + body


@contextmanager
def canned(script: Script) -> Iterator[CannedServer]:
    """A server that reacts to each request as `script` says."""
    server = CannedServer(script)
    try:
        yield server
    finally:
        server.close()
