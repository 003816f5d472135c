"""The server's HTTP: pieces, several requests at once, odd bytes, errors of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from threading import Event, Thread

import pytest

from quant_pipeline.exchange.http import MAX_BODY, Answer, HttpProtocol, Reply, Request, json_reply

ASK = b"GET /path?a=1&b=%ED%95%9C HTTP/1.1\r\nHost: x\r\n\r\n"


async def _slow(request: Request) -> Reply:
    await asyncio.sleep(0)
    if request.path == "/slow/defect":
        msg = "a defect after waiting"
        raise RuntimeError(msg)
    return json_reply(200, [request.path])


def _answer(request: Request) -> Answer:
    if request.path.startswith("/slow"):
        return _slow(request)
    if request.path == "/defect":
        msg = "a defect"
        raise RuntimeError(msg)
    if request.path == "/empty":
        return Reply(204)
    return json_reply(200, [request.method, request.path, request.pairs(), request.body.decode()])


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server of the protocol alone."""
    listener = socket.create_server(("127.0.0.1", 0))
    started, loops = Event(), []

    async def main() -> None:
        stop, open_connections = asyncio.Event(), set[HttpProtocol]()
        loops.append((asyncio.get_running_loop(), stop))
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: HttpProtocol(_answer, open_connections), sock=listener)
        started.set()
        await stop.wait()
        server.close()
        for connection in tuple(open_connections):
            connection.close()
        await server.wait_closed()

    thread = Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(10)
    yield listener.getsockname()
    loop, stop = loops[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


def _exchange(address: tuple[str, int], *pieces: bytes, answers: int = 1) -> bytes:
    """Send the pieces, read until so many answers have arrived or the server closes."""
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while received.count(b"\r\n\r\n") < answers or not _complete(received):
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
        return received


def _complete(received: bytes) -> bool:
    head, _, body = received.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    return len(body) >= length


def test_a_request_is_read_and_answered(address: tuple[str, int]) -> None:
    answer = _exchange(address, ASK)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'["GET","/path",[["a","1"],["b","\xed\x95\x9c"]],""]' in answer


def test_a_request_may_arrive_byte_by_byte(address: tuple[str, int]) -> None:
    assert b'["GET"' in _exchange(address, *(ASK[n : n + 1] for n in range(len(ASK))))


def test_requests_sent_together_are_answered_in_order(address: tuple[str, int]) -> None:
    together = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5))
    answer = _exchange(address, together, answers=5)
    assert [answer.find(b'"/%d"' % n) for n in range(5)] == sorted(answer.find(b'"/%d"' % n) for n in range(5))
    assert answer.count(b"HTTP/1.1 200 OK") == 5


def test_an_answer_that_is_waited_for_keeps_its_place(address: tuple[str, int]) -> None:
    paths = ["/slow/1", "/2", "/slow/3", "/slow/4", "/5"]
    together = b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths)
    answer = _exchange(address, together, answers=5).decode()
    places = [answer.find(f'"{path}"') for path in paths]
    assert -1 not in places
    assert places == sorted(places)


def test_a_defect_after_waiting_is_a_500_and_the_server_goes_on(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    answer = _exchange(address, b"GET /slow/defect HTTP/1.1\r\nHost: x\r\n\r\n" + ASK, answers=2)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert "a defect after waiting" in caplog.text


def test_chunked_bodies_are_put_together(address: tuple[str, int]) -> None:
    chunked = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert b'"abcde"' in _exchange(address, chunked)


def test_what_is_no_http_is_refused_and_the_connection_closed(address: tuple[str, int]) -> None:
    answer = _exchange(address, b"\x16\x03\x01\x02\x00hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


def test_a_body_beyond_the_limit_is_refused(address: tuple[str, int]) -> None:
    size = MAX_BODY + 70_000
    answer = _exchange(address, b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_defect_is_a_500_and_the_server_goes_on(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    answer = _exchange(address, b"GET /defect HTTP/1.1\r\nHost: x\r\n\r\n" + ASK, answers=2)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert "a defect" in caplog.text


def test_no_content_has_no_body_and_no_length(address: tuple[str, int]) -> None:
    answer = _exchange(address, b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"Content-Length" not in answer


def test_a_client_may_ask_to_close(address: tuple[str, int]) -> None:
    answer = _exchange(address, b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answers=2)
    assert b"Connection: close" in answer
