"""The process that owns the embedded PostgreSQL of one state folder: `python -m ... STATE_DIR PORT [fast]`.

It detaches itself, starts `postgres` as its child, restarts it when it dies, and stops it when nobody uses it any more:
every user of the server holds a shared lock on `holders.lock`, which the kernel drops when that process ends.
Started by `quant_pipeline.runtime.postgres` only; it must stay cheap to import.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from quant_pipeline.runtime.errors import EmbeddedPostgresError, RuntimeProblemError
from quant_pipeline.runtime.file_lock import FileLock
from quant_pipeline.runtime.ports import busy_message, choose_free_port, is_port_free
from quant_pipeline.runtime.postgres_account import choose_data_dir, find_binaries, server_account
from quant_pipeline.runtime.postgres_cluster import Cluster, stop_server
from quant_pipeline.runtime.postgres_files import PostgresFiles, ServerStatus
from quant_pipeline.runtime.waiting import wait_until

_TICK_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 3.0
"""How long a server without users is kept, so that one command after another does not restart it each time."""
_READY_SECONDS: Final = 120.0
"""Crash recovery happens in this time."""
_RESTARTS: Final = 5
"""Give up when the server died this often within a minute."""


class Report:
    """The one answer that the starter waits for, over a pipe; later answers go nowhere."""

    def __init__(self, fd: int) -> None:
        """Take over the writing end of the pipe."""
        self._fd: int | None = fd

    def send(self, message: dict[str, object]) -> None:
        """Send the first message; a starter that is gone is only noted."""
        if self._fd is None:
            return
        try:
            os.write(self._fd, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            note("the process that started this supervisor is gone")
        finally:
            os.close(self._fd)
            self._fd = None


class Supervisor:
    """Owns one server; single-threaded, because the server is bound to the life of this very thread."""

    def __init__(self, files: PostgresFiles, cluster: Cluster) -> None:
        """Store what is supervised; nothing starts here."""
        self._files = files
        self._cluster = cluster
        self._holders = FileLock(files.holders_lock)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._deaths: list[float] = []

    def request_stop(self, _number: int, _frame: FrameType | None) -> None:
        """Signal handler: leave the loop at its next turn."""
        self._stopping = True

    def start(self, wanted_port: int, setting: str) -> ServerStatus:
        """Start the server on the wanted port, or for 0 on the last one or any free one; returns when it is ready."""
        if wanted_port != 0:
            if not is_port_free(wanted_port):
                raise EmbeddedPostgresError(busy_message(wanted_port, setting))
            return self._start_on(wanted_port)
        remembered = self._files.remembered_port()
        port = remembered if remembered is not None and is_port_free(remembered) else choose_free_port()
        for _ in range(3):
            try:
                return self._start_on(port)
            except EmbeddedPostgresError:
                if is_port_free(port):  # the port was not the reason
                    raise
                port = choose_free_port(avoid=frozenset({port}))
        return self._start_on(port)

    def _start_on(self, port: int) -> ServerStatus:
        self._cluster.clear_leftovers()
        process = self._cluster.start(port, self._files.log, on_death_of_parent=signal.SIGINT)
        self._process = process

        def settled() -> bool:
            return process.poll() is not None or self._stopping or self._cluster.is_ready(process.pid)

        if not wait_until(settled, timeout=_READY_SECONDS) or process.poll() is not None:
            stop_server(process)
            msg = f"PostgreSQL did not start on port {port}; the end of {self._files.log}:\n{self._files.log_tail()}"
            raise EmbeddedPostgresError(msg)
        if self._stopping:
            msg = "the supervisor was asked to stop while the server was starting"
            raise EmbeddedPostgresError(msg)
        status = ServerStatus(port, os.getpid(), process.pid, str(self._cluster.data_dir))
        self._files.write_status(status)
        return status

    def watch(self, port: int) -> None:
        """Keep the server running until nobody uses it or a signal asks for the end."""
        unused_since: float | None = None
        while not self._stopping and self._files.root.exists():
            self._revive(port)
            if not self._holders.try_acquire(shared=False):
                unused_since = None
                self._files.leave_request.unlink(missing_ok=True)
            elif self._is_due(unused_since):
                return  # the lock is kept: who comes now waits, and starts a new supervisor afterwards
            else:
                self._holders.release()
                unused_since = time.monotonic() if unused_since is None else unused_since
            time.sleep(_TICK_SECONDS)

    def close(self) -> None:
        """Stop the server, if it runs."""
        self._files.status_file.unlink(missing_ok=True)
        if self._process is not None:
            stop_server(self._process)

    def _is_due(self, unused_since: float | None) -> bool:
        if self._files.leave_request.exists():
            return True
        return unused_since is not None and time.monotonic() - unused_since >= _GRACE_SECONDS

    def _revive(self, port: int) -> None:
        """Start the server again on its port after it died on us."""
        if self._process is None or self._process.poll() is None:
            return
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < 60] + [now]
        if len(self._deaths) > _RESTARTS:
            msg = f"PostgreSQL died {len(self._deaths)} times within a minute; see {self._files.log}"
            raise EmbeddedPostgresError(msg)
        self._files.status_file.unlink(missing_ok=True)
        note(f"postgres ended with {self._process.returncode}, starting it again")
        # Backends of a killed server hold its shared memory for a moment longer.
        time.sleep(0.1 * 2 ** len(self._deaths))
        try:
            self._start_on(port)
        except EmbeddedPostgresError as error:
            note(str(error).splitlines()[0])


def run(state_dir: Path, port: int, setting: str, *, fast: bool, report: Report) -> None:
    """Set everything up, tell the starter that the server is ready, and watch it to its end."""
    files = PostgresFiles(state_dir)
    own = FileLock(files.supervisor_lock)
    # A client that looks whether we live holds the lock for an instant; a real rival holds it for good.
    if not own.acquire(shared=False, timeout=2.0):
        msg = f"another supervisor runs the server of {state_dir}"
        raise EmbeddedPostgresError(msg)
    files.status_file.unlink(missing_ok=True)
    files.leave_request.unlink(missing_ok=True)
    data_dir = choose_data_dir(files)
    # Two state folders can name one data directory, when the folder was copied.
    data_lock = FileLock(data_dir.parent / "data.lock")
    if not data_lock.acquire(shared=False, timeout=2.0):
        msg = (
            f"the database files in {data_dir} are in use for another state folder; was {state_dir} copied? "
            f"Delete {files.location_file} to start with an empty database here"
        )
        raise EmbeddedPostgresError(msg)
    account = server_account(data_dir)
    cluster = Cluster(data_dir, find_binaries(account), account, fast=fast)
    supervisor = Supervisor(files, cluster)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, supervisor.request_stop)
    try:
        cluster.create(files.password())
        status = supervisor.start(port, setting)
        report.send({"port": status.port})
        supervisor.watch(status.port)
    finally:
        supervisor.close()


def main(arguments: list[str]) -> int:
    """Entry point: detach, run, and report a failure to the starter in one line of JSON."""
    state_dir, port, setting, *flags = arguments
    report = _detach(PostgresFiles(Path(state_dir)).log)
    try:
        run(Path(state_dir), int(port), setting, fast="fast" in flags, report=report)
    except RuntimeProblemError as error:
        note(str(error))
        report.send({"error": str(error)})
        return 1
    return 0


def _detach(log: Path) -> Report:
    """Leave the starter's session and process tree; stdout and stderr go to the log from here on."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    report = Report(os.dup(1))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    return report


def note(text: str) -> None:
    """One line for the server's log."""
    sys.stderr.write(f"supervisor[{os.getpid()}]: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
