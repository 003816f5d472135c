"""Helper processes of the runtime tests: another process that uses the embedded server. No assertions here."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

import quant_pipeline

HOLDER = """
import sys
from pathlib import Path
from quant_pipeline.runtime.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]), fast=True)
with server.session() as dsn:
    print(dsn.port, flush=True)
    sys.stdin.read()
"""


def environment_of_tests() -> dict[str, str]:
    """The environment in which a child finds this very package."""
    roots = [str(Path(entry).resolve().parent) for entry in quant_pipeline.__path__]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}


@dataclass
class Holder:
    """A process that uses a server until it is told to leave, or killed."""

    process: subprocess.Popen[bytes]
    port: int

    def leave(self) -> None:
        """Leave as a program does that comes to its end; returns when it has."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def start_holder(state_dir: Path, port: int = 0) -> Iterator[Holder]:
    """A holder that uses the server of `state_dir`; killed at the end if it still runs."""
    command = [sys.executable, "-c", HOLDER, str(state_dir), str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment_of_tests())
    with process:
        try:
            yield Holder(process, int(read_line(process, timeout=60)))
        finally:
            process.kill()


def read_line(process: subprocess.Popen[bytes], *, timeout: float) -> str:
    """The next line that a process prints; fails when it ends or stays silent."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 1) if ready else b""
        assert chunk, f"no line within {timeout} s; so far {line!r}, exit code {process.poll()}"
        line += chunk
    return line.decode().strip()


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
