"""Locks between processes that the kernel drops when a process dies, however it dies. Nothing is stored here.

They are `flock` locks: held by an open file, so a child that inherits the file would hold them too; the files are
opened close-on-exec, and only a plain `os.fork` passes them on.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import Final

from quant_pipeline.runtime.errors import EmbeddedPostgresError

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS: Final = 0.02


class FileLock:
    """One open lock file. Not re-entrant, not shared between threads; `release` is safe to call twice."""

    def __init__(self, path: Path) -> None:
        """Name the lock file; it is created (mode 0600) at the first `acquire`."""
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def try_acquire(self, *, shared: bool) -> bool:
        """Take the lock if that is possible at once; a shared lock keeps out exclusive ones and the reverse."""
        if self._fd is not None:
            msg = f"lock {self.path} is already held by this object"
            raise RuntimeError(msg)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _flock(fd, shared=shared):
            self._fd = fd
            return True
        os.close(fd)
        return False

    def acquire(self, *, shared: bool, timeout: float) -> bool:
        """Take the lock, waiting at most `timeout` seconds; False when it was not free in time."""
        deadline = time.monotonic() + timeout
        while not self.try_acquire(shared=shared):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def is_locked(path: Path) -> bool:
    """Whether somebody holds an exclusive lock on `path` now (a moment later it may differ)."""
    probe = FileLock(path)
    if not path.exists():
        return False
    free = probe.try_acquire(shared=True)
    probe.release()
    return not free


def _flock(fd: int, *, shared: bool) -> bool:
    if sys.platform == "win32":
        msg = (
            "the embedded PostgreSQL needs Linux or macOS (file locks that end with their process); "
            "on this system set the database DSN to a PostgreSQL server of your own, or use WSL"
        )
        raise EmbeddedPostgresError(msg)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
