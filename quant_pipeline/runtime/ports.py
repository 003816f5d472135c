"""Loopback TCP ports: is one free, who has it, choose one. No processes are started or stopped here."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
from typing import Final

import psutil

from quant_pipeline.runtime.errors import PortBusyError

LOOPBACK: Final = "127.0.0.1"
_CHOICE: Final = range(15_000, 30_000)
"""Below the range that systems use for outgoing connections, so a port remembered from the last start is still free."""


def is_port_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # Without it the closed connections of a server that just stopped would make its port look taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    # Elsewhere than on Linux one may bind beside a listener on the wildcard address; so ask whether anybody answers.
    return sys.platform == "linux" or not accepts_connections(port)


def accepts_connections(port: int, *, timeout: float = 0.5) -> bool:
    """Whether something on the loopback address accepts TCP connections on `port`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout):
            return True
    except OSError:
        return False


def choose_free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A port between 15000 and 29999 that nobody listens on; raises `PortBusyError` if a hundred tries find none."""
    source = random.SystemRandom()
    for _ in range(100):
        port = source.choice(_CHOICE)
        if port not in avoid and is_port_free(port):
            return port
    msg = f"no free port found between {_CHOICE.start} and {_CHOICE.stop - 1} on {LOOPBACK}"
    raise PortBusyError(msg)


def port_owner(port: int) -> str | None:
    """Who listens on `port`, as "name (pid 12)", where the system lets us see it; None otherwise."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, OSError):
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return _describe(connection.pid) if connection.pid is not None else None
    return None


def require_free_port(port: int, setting: str) -> None:
    """Check that `port` can be used; raises `PortBusyError` naming the port, the setting and, if known, the owner."""
    if is_port_free(port):
        return
    raise PortBusyError(busy_message(port, setting))


def busy_message(port: int, setting: str) -> str:
    """The sentence that tells a person which port is taken, by whom, and which setting moves it."""
    owner = port_owner(port)
    by = f"by {owner}" if owner is not None else "by another process (its owner could not be found)"
    if os.name == "posix" and port < 1024:
        by += ", or needs root because it is below 1024"
    return f"port {port} of setting {setting!r} is in use {by}; stop that process or set {setting!r} to another port"


def _describe(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"
