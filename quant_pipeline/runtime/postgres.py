"""The embedded PostgreSQL, as its users see it: a server that runs while somebody uses it. How it runs is elsewhere.

Every process that uses the server of a state folder holds a shared file lock on it; the first one starts a supervisor,
and the supervisor stops the server when no lock is left. A process that is killed drops its lock with its life,
so it can neither leave a server behind nor take it from others.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import quant_pipeline
from quant_pipeline.runtime.errors import EmbeddedPostgresError
from quant_pipeline.runtime.file_lock import FileLock, is_locked
from quant_pipeline.runtime.log_files import rotate_log
from quant_pipeline.runtime.ports import LOOPBACK
from quant_pipeline.runtime.postgres_cluster import SUPERUSER
from quant_pipeline.runtime.postgres_files import PostgresFiles, ServerStatus
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.storage.dsn import Dsn

_SUPERVISOR: Final = "quant_pipeline.runtime.postgres_supervisor"
_STOP_SECONDS: Final = 60.0
_LOGIN_SECONDS: Final = 15.0


class EmbeddedPostgres:
    """One process's use of the embedded server of a state folder. Not for use by several threads at once.

    A child made by plain `os.fork` shares its parent's use: the server stays until both have ended.

    Args:
        state_dir: Any folder, made if missing; the server's files are in `postgres` below it. Root, whose server runs
            under another account, may find the data under /var/lib/quant-pipeline (the file `location` says so).
        port: Port on 127.0.0.1; 0 takes the port of the last start if it is free, otherwise any free one.
        fast: No fsync: for tests only. It holds for a server that this object starts, not for one that runs.
        setting: The name of the setting behind `port`, for error messages.
    """

    def __init__(
        self, state_dir: Path, port: int = 0, *, fast: bool = False, setting: str = "embedded PostgreSQL port"
    ) -> None:
        """Store the parameters; nothing is started or created."""
        self.state_dir = state_dir
        self.port = port
        self.fast = fast
        self.setting = setting
        self._files = PostgresFiles(state_dir.resolve())
        self._hold = FileLock(self._files.holders_lock)

    @property
    def log_path(self) -> Path:
        """The log of server and supervisor."""
        return self._files.log

    def ensure_running(self, timeout: float = 180.0) -> Dsn:
        """Use the server, starting it if nobody runs it; cheap when it runs, so it may be called again at any time.

        Args:
            timeout: Seconds to wait; a first start makes the data directory, a start after a crash recovers it.

        Returns:
            The superuser's DSN of database `postgres`. The server stays up at least until `stop`, or until this
            process ends.

        Raises:
            EmbeddedPostgresError: with the reason and the remedy, or the end of the server's log.
        """
        deadline = time.monotonic() + timeout
        self._files.make_root()
        if not self._hold.held and not self._hold.acquire(shared=True, timeout=timeout):
            msg = f"the PostgreSQL of {self.state_dir} still shuts down after {timeout:.0f} s; see {self.log_path}"
            raise EmbeddedPostgresError(msg)
        try:
            dsn = self._connect_or_start(deadline)
        except BaseException:
            self._hold.release()
            raise
        return dsn

    def current(self) -> Dsn | None:
        """The DSN if a server runs and is ready now, None otherwise; does not use, start or keep it."""
        status = self._files.status()
        if status is None or not is_locked(self._files.supervisor_lock):
            return None
        return self._dsn(status)

    def stop(self) -> None:
        """Stop using the server. The last user waits until the server has stopped; others return at once."""
        if not self._hold.held:
            return
        self._hold.release()
        if not self._files.root.exists():
            return  # the state folder was deleted: the supervisor sees that by itself
        # After the release, so that a supervisor which withdraws the request has seen another user, not us.
        self._files.leave_request.touch()

        def decided() -> bool:
            return not self._files.leave_request.exists() or not is_locked(self._files.supervisor_lock)

        if not wait_until(decided, timeout=_STOP_SECONDS):
            msg = f"the PostgreSQL of {self.state_dir} did not stop within {_STOP_SECONDS:.0f} s; see {self.log_path}"
            raise EmbeddedPostgresError(msg)

    @contextmanager
    def session(self) -> Iterator[Dsn]:
        """Use the server inside a `with` block; yields its DSN."""
        dsn = self.ensure_running()
        try:
            yield dsn
        finally:
            self.stop()

    def _connect_or_start(self, deadline: float) -> Dsn:
        starting = FileLock(self._files.starting_lock)
        if not starting.acquire(shared=False, timeout=max(0.0, deadline - time.monotonic())):
            msg = f"another process takes too long to start the PostgreSQL of {self.state_dir}; see {self.log_path}"
            raise EmbeddedPostgresError(msg)
        try:
            if not is_locked(self._files.supervisor_lock):
                self._start_supervisor(deadline)
            return self._await_ready(deadline)
        finally:
            starting.release()

    def _await_ready(self, deadline: float) -> Dsn:
        """Wait for the record of a server that answers to our password."""

        def settled() -> bool:
            return self._files.status() is not None or not is_locked(self._files.supervisor_lock)

        wait_until(settled, timeout=max(0.0, deadline - time.monotonic()))
        status = self._files.status()
        if status is None:
            msg = f"the PostgreSQL of {self.state_dir} is not ready; {self._log_end()}"
            raise EmbeddedPostgresError(msg)
        if self.port not in (0, status.port):
            msg = (
                f"the PostgreSQL of {self.state_dir} runs on port {status.port} for other processes, but "
                f"{self.setting!r} is {self.port}; stop those processes first, or set {self.setting!r} to {status.port}"
            )
            raise EmbeddedPostgresError(msg)
        return self._require_answer(status)

    def _require_answer(self, status: ServerStatus) -> Dsn:
        """Log in once, which proves that the server is ours; a server that was just killed gets time to come back.

        A server that comes back takes logins an instant before its supervisor has recorded it, so the record counts
        as part of the answer: `current` finds the server right after this.
        """
        dsn = self._dsn(status)
        problems: list[str] = []

        def answers() -> bool:
            problem = login_problem(dsn)
            if problem is None and self._files.status() is None:
                problem = f"there is no record of it in {self._files.status_file}"
            problems.extend([] if problem is None else [problem])
            return problem is None

        if not wait_until(answers, timeout=_LOGIN_SECONDS):
            msg = f"the PostgreSQL on port {dsn.port} is not ready for us: {problems[-1]}; see {self.log_path}"
            raise EmbeddedPostgresError(msg)
        return dsn

    def _log_end(self) -> str:
        return f"the end of {self.log_path}:\n{self._files.log_tail()}"

    def _dsn(self, status: ServerStatus) -> Dsn:
        return Dsn(LOOPBACK, status.port, SUPERUSER, self._files.password(), "postgres")

    def _start_supervisor(self, deadline: float) -> None:
        """Start the detached supervisor and wait for its answer on a pipe."""
        command = [sys.executable, "-P", "-m", _SUPERVISOR, str(self._files.state_dir), str(self.port), self.setting]
        environment = dict(os.environ)
        # The supervisor runs from / (it must not keep a folder busy), so tell it where this package is.
        roots = [str(Path(entry).resolve().parent) for entry in quant_pipeline.__path__]
        environment["PYTHONPATH"] = os.pathsep.join([*roots, *filter(None, [environment.get("PYTHONPATH")])])
        rotate_log(self.log_path)
        with self.log_path.open("ab") as log:
            starter = subprocess.Popen(  # noqa: S603 - our own module
                [*command, *(["fast"] if self.fast else [])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        with starter:
            answer = _read_line(starter, deadline)
        if answer is None:
            msg = f"the supervisor of {self.state_dir} gave no answer; {self._log_end()}"
            raise EmbeddedPostgresError(msg)
        message = json.loads(answer)
        if "error" in message:
            raise EmbeddedPostgresError(str(message["error"]))


def _read_line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """One line from a pipe; None at its end or when the time is up."""
    if process.stdout is None:
        msg = "the process was started without a pipe"
        raise ValueError(msg)
    received = b""
    while not received.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(process.stdout.fileno(), 65_536)
        if not chunk:
            return None
        received += chunk
    return received


def login_problem(dsn: Dsn) -> str | None:
    """Why one cannot log in with `dsn`, None if one can."""
    import psycopg2  # keeps this module cheap to import

    try:
        connection = psycopg2.connect(
            host=dsn.host, port=dsn.port, user=dsn.user, password=dsn.password, dbname=dsn.database, connect_timeout=10
        )
    except psycopg2.OperationalError as error:
        return str(error).strip()
    connection.close()
    return None
