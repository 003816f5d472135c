"""Start a set of child processes, know when they are ready, keep them going, and end them with all they started.

Which processes those are is decided by the caller (`quant up`, the demo).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from quant_pipeline.runtime.errors import ChildFailedError
from quant_pipeline.runtime.keeper import keeper_command
from quant_pipeline.runtime.log_files import rotate_log, tail
from quant_pipeline.runtime.ports import accepts_connections

_POLL_SECONDS: Final = 0.1
_RESTARTS: Final = 5
_RESTART_WINDOW: Final = 600.0

Ready = Callable[[], bool] | str


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run and how to know that it works.

    `ready` is a function, an http:// URL (any answer below 500 counts) or tcp://127.0.0.1:PORT; None: ready at once.
    `restart` starts it again when it ends by itself, up to 5 times in 10 minutes.
    """

    name: str
    argv: tuple[str, ...]
    log_path: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    ready: Ready | None = None
    restart: bool = False


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes]
    is_ready: bool = False
    ends: list[float] = field(default_factory=list)
    restart_at: float | None = None


class ProcessGroup:
    """Child processes that live no longer than this object's process. To be used from one thread.

    Each child runs in a session of its own, so Ctrl-C in a terminal reaches only this process, and inside a keeper
    process, which ends the child and its descendants when this process ends, also after `kill -9`.

    Args:
        grace: Seconds that a child has for ending when it is asked to, before it is killed.
        notify: Told, in a sentence, when a child ended and was started again.
    """

    def __init__(self, *, grace: float = 15.0, notify: Callable[[str], None] | None = None) -> None:
        """Store the parameters; nothing is started."""
        self.grace = grace
        self._notify = notify
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Self:
        """Enter a block at whose end everything is stopped."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Ready | None = None,
        restart: bool = False,
    ) -> None:
        """Start a child; its output is appended to `log_path`. Returns at once (see `wait_ready` and `ChildSpec`)."""
        if name in self._children:
            msg = f"a child named {name!r} is already running"
            raise ValueError(msg)
        spec = ChildSpec(name, tuple(argv), log_path, env, cwd, ready, restart)
        self._children[name] = _Child(spec, self._spawn(spec))

    def pids(self) -> dict[str, int]:
        """The process id of each child's keeper, by name."""
        return {name: child.process.pid for name, child in self._children.items()}

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until every child is ready.

        Raises:
            ChildFailedError: when one ends or is not ready in time; the text holds the end of its log.
        """
        deadline = time.monotonic() + timeout
        while waiting := [child for child in self._children.values() if not child.is_ready]:
            for child in waiting:
                self._require_alive(child)
                child.is_ready = is_ready(child.spec.ready)
            late = next((child.spec for child in waiting if not child.is_ready), None)
            if late is None:
                return
            if time.monotonic() >= deadline:
                msg = f"{late.name} was not ready within {timeout:.0f} s; the end of {late.log_path}:\n{_tail(late)}"
                raise ChildFailedError(msg)
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Look after the children once: start those again that may be, raise `ChildFailedError` for others."""
        for child in self._children.values():
            code = child.process.poll()
            if code is None:
                continue
            if not child.spec.restart:
                self._require_alive(child)
            self._restart(child, code)

    def run_until_signal(
        self, *, every: float = 1.0, work: Callable[[], None] | None = None, until: Callable[[], bool] | None = None
    ) -> signal.Signals | None:
        """Look after the children until SIGINT, SIGTERM or SIGHUP; main thread only. Does not stop the children.

        Args:
            every: Seconds between two looks.
            work: Called at each look, for example to refresh what is shown.
            until: Ends the wait as well, when it returns true.

        Returns:
            The signal that ended the wait, None if `until` did.

        Raises:
            ChildFailedError: when a child that is not restarted ends.
        """
        with _end_signals() as wait:
            while True:
                self.check()
                if work is not None:
                    work()
                if until is not None and until():
                    return None
                received = wait(every)
                if received is not None:
                    return received

    def stop(self) -> None:
        """End all children, the last started first, each with its descendants; returns when they are gone."""
        while self._children:
            _, child = self._children.popitem()
            process = child.process
            if process.stdin is not None:
                process.stdin.close()
            try:
                # The keeper needs the grace, and up to 16 s for what the child left behind.
                process.wait(self.grace + 20.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, spec: ChildSpec) -> subprocess.Popen[bytes]:
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        rotate_log(spec.log_path)
        with spec.log_path.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the caller's own command
                keeper_command(list(spec.argv), grace=self.grace),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=None if spec.env is None else dict(spec.env),
                cwd=spec.cwd,
                start_new_session=True,
            )

    def _require_alive(self, child: _Child) -> None:
        code = child.process.poll()
        if code is not None:
            spec = child.spec
            msg = f"{spec.name} ended with exit code {code}; the end of {spec.log_path}:\n{_tail(spec)}"
            raise ChildFailedError(msg)

    def _restart(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        if child.restart_at is None:
            child.ends = [at for at in child.ends if now - at < _RESTART_WINDOW] + [now]
            if len(child.ends) > _RESTARTS:
                self._require_alive(child)
            child.restart_at = now + 2 ** (len(child.ends) - 1)
        if now < child.restart_at:
            return
        child.restart_at = None
        if child.process.stdin is not None:
            child.process.stdin.close()
        child.process = self._spawn(child.spec)
        if self._notify is not None:
            self._notify(f"{child.spec.name} ended with exit code {code} and was started again")


def is_ready(ready: Ready | None) -> bool:
    """Whether a readiness condition holds now (see `ChildSpec`)."""
    if ready is None:
        return True
    if not isinstance(ready, str):
        return ready()
    parts = urlsplit(ready)
    if parts.hostname is None or parts.port is None or parts.scheme not in ("http", "tcp"):
        msg = f"readiness {ready!r} must be a function, http://HOST:PORT/PATH or tcp://HOST:PORT"
        raise ValueError(msg)
    if parts.scheme == "tcp":
        return accepts_connections(parts.port)
    # Not urllib: it would ask the proxy of the environment.
    connection = HTTPConnection(parts.hostname, parts.port, timeout=2.0)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _tail(spec: ChildSpec) -> str:
    return tail(spec.log_path, 20)


@contextmanager
def _end_signals() -> Iterator[Callable[[float], signal.Signals | None]]:
    """Catch the signals that ask for an end, inside a block; yields a wait (seconds) that returns one or None."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def catch(number: int, _frame: FrameType | None) -> None:
        os.write(writing, bytes([number]))  # an Event could deadlock here: its lock may be held right now

    def wait(seconds: float) -> signal.Signals | None:
        ready, _, _ = select.select([reading], [], [], seconds)
        return signal.Signals(os.read(reading, 1)[0]) if ready else None

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` wants SIGHUP ignored
            before[number] = signal.signal(number, catch)
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
