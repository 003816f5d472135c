"""Where the embedded PostgreSQL of one state folder keeps its files, and what is in them. No processes here."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from quant_pipeline.runtime.errors import EmbeddedPostgresError
from quant_pipeline.runtime.log_files import tail

ROOT_STORE: Final = Path("/var/lib/quant-pipeline")
"""Used only by root, when the unprivileged server account cannot enter the state folder or the wheel's folder."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A running server, as its supervisor wrote it down: `port` on 127.0.0.1, process ids, the data directory."""

    port: int
    supervisor_pid: int
    postgres_pid: int
    data_dir: str


@dataclass(frozen=True, slots=True)
class PostgresFiles:
    """The file names under `<state_dir>/postgres`; `state_dir` must be absolute."""

    state_dir: Path

    @property
    def root(self) -> Path:
        """The folder of everything below."""
        return self.state_dir / "postgres"

    @property
    def holders_lock(self) -> Path:
        """Held shared by every process that uses the server, exclusively by a supervisor that is shutting it down."""
        return self.root / "holders.lock"

    @property
    def starting_lock(self) -> Path:
        """Held by the one process that is starting the supervisor."""
        return self.root / "starting.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def leave_request(self) -> Path:
        """Touched by a holder that leaves on purpose: the supervisor then skips its waiting time."""
        return self.root / "leave"

    @property
    def status_file(self) -> Path:
        """The `ServerStatus` of a server that is ready."""
        return self.root / "server.json"

    @property
    def port_file(self) -> Path:
        """The port chosen last, so that clients find the server again after a restart."""
        return self.root / "port"

    @property
    def password_file(self) -> Path:
        """The superuser's password, mode 0600."""
        return self.root / "password"

    @property
    def location_file(self) -> Path:
        """The data directory, when it is not `<state_dir>/postgres/data`."""
        return self.root / "location"

    @property
    def log(self) -> Path:
        """What the supervisor and the server have to say."""
        return self.root / "server.log"

    @property
    def local_data_dir(self) -> Path:
        """The data directory inside the state folder, used wherever the server's account can enter it."""
        return self.root / "data"

    @property
    def outside_data_dir(self) -> Path:
        """The data directory for a state folder that the server's account cannot enter (root only)."""
        name = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:16]
        return ROOT_STORE / name / "data"

    def make_root(self) -> None:
        """Create the folder; the parents keep their modes."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot create the state folder {self.root}: {error.strerror}; choose a writable state folder"
            raise EmbeddedPostgresError(msg) from error

    def password(self) -> str:
        """The password; made at the first call. Raises `EmbeddedPostgresError` if this user may not read it."""
        try:
            if not self.password_file.exists():
                write_atomically(self.password_file, secrets.token_urlsafe(24))
            return self.password_file.read_text().strip()
        except PermissionError as error:
            msg = (
                f"{self.password_file} belongs to another user; "
                "use the state folder as the user who made it, or choose another state folder"
            )
            raise EmbeddedPostgresError(msg) from error

    def remembered_port(self) -> int | None:
        """The port of the last start, None if there was none."""
        try:
            return int(self.port_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def status(self) -> ServerStatus | None:
        """The server's record, None if no server is ready."""
        try:
            return ServerStatus(**json.loads(self.status_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_status(self, status: ServerStatus) -> None:
        """Record a server that is ready, and its port for later starts."""
        write_atomically(self.port_file, str(status.port))
        write_atomically(self.status_file, json.dumps(asdict(status)))

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log, for an error message."""
        return tail(self.log, lines)


def write_atomically(path: Path, text: str) -> None:
    """Write a small private file (mode 0600) so that a reader sees the old or the new text, never half of one."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
