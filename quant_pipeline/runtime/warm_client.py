"""A process's side of warm servers: start one, hand it runs, hear of their ends, replace it when sources change.

One server per process and list of modules, however many Dagster instances there are. What a run's end means for Dagster
is the launcher's business.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import quant_pipeline
from quant_pipeline.runtime.code_state import code_state
from quant_pipeline.runtime.errors import RunLaunchError
from quant_pipeline.runtime.warm_server import Channel

_READY_SECONDS: Final = 180.0
_FORK_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)

OnExit = Callable[[str, int], None]
"""Called in a background thread with a run's id and its exit code (negative: the signal that ended it)."""


@dataclass(frozen=True, slots=True)
class WarmSpec:
    """What a server imports, and which files besides those sources make it outdated when they change."""

    modules: tuple[str, ...]
    watch: tuple[Path, ...] = ()


class WarmServer:
    """A running server of this process; use `warm_server()` to get one."""

    def __init__(self, spec: WarmSpec, instance_ref: str, on_exit: OnExit) -> None:
        """Start the process; it imports in the background until the first `launch` has to wait for it."""
        self.state = code_state(spec.modules, spec.watch)
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self._ready: Future[dict[str, Any]] = Future()
        self._waiting: dict[str, Future[int]] = {}
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                _command(theirs.fileno()), stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self._channel = Channel(ours)
        self._channel.send({"sys_path": sys.path, "modules": spec.modules, "instance_ref": instance_ref})
        threading.Thread(target=self._listen, name="warm-server", daemon=True).start()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the server can take runs."""
        return self._process.poll() is None and not (self._ready.done() and "failed" in self._ready.result())

    def wait_ready(self, timeout: float = _READY_SECONDS) -> dict[str, Any]:
        """Wait for the imports; returns seconds (`ready`) and the number of threads (`threads`) of the server.

        Raises:
            RunLaunchError: an import failed (the text holds the traceback) or took too long.
        """
        try:
            answer = self._ready.result(timeout)
        except TimeoutError as error:
            self.close()
            msg = f"the warm server did not finish its imports within {timeout:.0f} s"
            raise RunLaunchError(msg) from error
        if "failed" in answer:
            msg = f"the warm server cannot import its modules:\n{answer['failed']}"
            raise RunLaunchError(msg)
        return answer

    def launch(self, run_id: str) -> int:
        """Have a run executed in a fresh fork; returns its process id. Raises `RunLaunchError` if that fails."""
        self.wait_ready()
        started: Future[int] = Future()
        with self._lock:
            self._waiting[run_id] = started
            self._channel.send({"run_id": run_id})
        if not self.is_alive:
            self._fail_waiting()
        try:
            return started.result(_FORK_SECONDS)
        except TimeoutError as error:
            msg = f"the warm server did not start run {run_id} within {_FORK_SECONDS:.0f} s"
            raise RunLaunchError(msg) from error

    def retire(self) -> None:
        """Let the runs in progress finish, take no more."""
        self._channel.send({"retire": True})

    def close(self, timeout: float = 10.0) -> None:
        """Retire the server and wait for its end; kills it (not its runs) if that takes longer than `timeout`."""
        self.retire()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        """Background thread: deliver the server's messages until it is gone."""
        while (messages := self._channel.receive()) is not None:
            for message in messages:
                self._deliver(message)
        if not self._ready.done():
            self._ready.set_result({"failed": "the process ended during its imports; see the log"})
        self._fail_waiting()
        self._channel.connection.close()
        self._process.wait()

    def _deliver(self, message: dict[str, Any]) -> None:
        if "started" in message:
            with self._lock:
                self._waiting.pop(message["started"]).set_result(message["pid"])
        elif "exited" in message:
            self._tell_exit(message["exited"], message["code"])
        else:
            if message.get("threads", 1) > 1:
                _log.warning("the preloaded modules started %d threads; runs may hang", message["threads"] - 1)
            self._ready.set_result(message)

    def _tell_exit(self, run_id: str, code: int) -> None:
        try:
            self._on_exit(run_id, code)
        except Exception:  # noqa: BLE001 - the next run's end must still be heard (run monitoring will find this one)
            _log.exception("the end of run %s (exit code %d) could not be reported", run_id, code)

    def _fail_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for run_id, started in waiting.items():
            started.set_exception(RunLaunchError(f"the warm server ended before it could start run {run_id}"))


_servers: dict[tuple[WarmSpec, str], WarmServer] = {}
_servers_lock = threading.Lock()


def warm_server(spec: WarmSpec, instance_ref: str, on_exit: OnExit) -> WarmServer:
    """This process's server for `spec` and a Dagster instance (its serialized reference).

    Started if there is none, replaced if its sources or watched files changed.
    """
    key = (spec, instance_ref)
    with _servers_lock:
        server = _servers.get(key)
        if server is not None and server.is_alive and server.state == code_state(spec.modules, spec.watch):
            return server
        if server is not None and server.is_alive:
            server.retire()
        _servers[key] = WarmServer(spec, instance_ref, on_exit)
        return _servers[key]


def close_all() -> None:
    """Close all servers of this process; runs in progress are waited for as long as `WarmServer.close` does."""
    with _servers_lock:
        servers = list(_servers.values())
        _servers.clear()
    for server in servers:
        server.close()


def _command(fd: int) -> list[str]:
    root = str(Path(next(iter(quant_pipeline.__path__))).resolve().parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from quant_pipeline.runtime.warm_server import main; main()"
    return [sys.executable, "-P", "-c", code, str(fd)]


def _forget_in_child() -> None:
    """A forked child has no server: the threads that listen to them are not there."""
    global _servers_lock  # noqa: PLW0603 - it may be held for ever in the child
    _servers_lock = threading.Lock()
    _servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
