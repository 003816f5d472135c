"""Serving the exchange: both dialects on two ports of one process, blocking or in a thread. No trading."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.dialects import alpaca_handler, upbit_handler
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Handler, HttpProtocol

_LOG = logging.getLogger(__name__)
_START_SECONDS = 60.0

__all__ = ["ExchangeConfig", "ExchangeHandle", "running_exchange", "serve"]


@dataclass(frozen=True, slots=True)
class ExchangeHandle:
    """A running exchange: where each dialect answers, and a client of its admin API."""

    alpaca_url: str
    upbit_url: str
    admin: AdminClient


def serve(config: ExchangeConfig) -> None:
    """Run until SIGINT or SIGTERM.

    Raises:
        OSError: a port is busy; the message names the setting.
        ValueError: the data folder or the state file does not fit.
    """
    sockets = _bind(config)
    exchange = Exchange(config)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
                loop.add_signal_handler(number, stop.set)
        await _run(exchange, sockets, stop, threading.Event())

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        _LOG.info("stopped by Ctrl-C")
    finally:
        exchange.close()


@contextlib.contextmanager
def running_exchange(config: ExchangeConfig) -> Iterator[ExchangeHandle]:
    """An exchange in a thread of this process, on the ports of `config` (0: free ones), stopped on exit."""
    sockets = _bind(config)
    ready = threading.Event()
    failures: list[BaseException] = []
    control: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        control.append((asyncio.get_running_loop(), stop))
        with contextlib.closing(Exchange(config)) as exchange:
            await _run(exchange, sockets, stop, ready)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="simulated-exchange", daemon=True)
    thread.start()
    ready.wait(_START_SECONDS)
    alpaca_url, upbit_url = (_url(config.host, listener) for listener in sockets)
    admin = AdminClient(alpaca_url)
    try:
        if not failures:
            yield ExchangeHandle(alpaca_url, upbit_url, admin)
    finally:
        admin.close()
        for loop, stop in control:
            with contextlib.suppress(RuntimeError):  # the loop has already ended
                loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)
        for listener in sockets:
            listener.close()
        if failures:
            raise failures[0]


def _url(host: str, listener: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _bind(config: ExchangeConfig) -> tuple[socket.socket, socket.socket]:
    """Listening sockets for both ports, so that a busy one is found before anything starts."""
    bound: list[socket.socket] = []
    for name, port in (("alpaca_port", config.alpaca_port), ("upbit_port", config.upbit_port)):
        listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, port))
        except OSError as error:
            for other in (*bound, listener):
                other.close()
            msg = f"the simulated exchange cannot listen on {config.host}:{port} ({error.strerror}); change {name}"
            raise OSError(error.errno, msg) from error
        bound.append(listener)
    return bound[0], bound[1]


async def _run(
    exchange: Exchange, sockets: tuple[socket.socket, socket.socket], stop: asyncio.Event, ready: threading.Event
) -> None:
    """Answer on both sockets until `stop` is set."""
    connections: set[HttpProtocol] = set()
    loop = asyncio.get_running_loop()

    def protocol(handler: Handler) -> HttpProtocol:
        return HttpProtocol(handler, connections)

    handlers = (alpaca_handler(exchange), upbit_handler(exchange))
    servers = [
        await loop.create_server(lambda handler=handler: protocol(handler), sock=listener)  # type: ignore[misc]
        for listener, handler in zip(sockets, handlers, strict=True)
    ]
    ports = [listener.getsockname()[1] for listener in sockets]
    _LOG.info("simulated exchange: Alpaca on port %d, Upbit on port %d", *ports)
    async with _keeping_up(exchange):
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()
        for connection in tuple(connections):
            connection.close()
        for server in servers:
            await server.wait_closed()


@contextlib.asynccontextmanager
async def _keeping_up(exchange: Exchange) -> AsyncIterator[None]:
    """The markets of a dry run are brought up to date by themselves."""
    every = float(exchange.config.live_poll_seconds)
    tasks = [
        asyncio.ensure_future(live.keep_up(every, lambda name=name: exchange.live_needs(name)))  # type: ignore[misc]
        for name, live in exchange.live.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for live in exchange.live.values():
            await live.upstream.close()
