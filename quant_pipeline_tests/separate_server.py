"""A PostgreSQL of the system's own binaries, as a user would run one beside the desk: its cluster, start and stop.

QUANT_TEST_POSTGRES_BIN names the folder of its binaries; without it the newest of Debian's folders is taken.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from quant_pipeline.runtime.parent_death import die_with_parent
from quant_pipeline.runtime.ports import LOOPBACK, choose_free_port
from quant_pipeline.runtime.postgres import login_problem
from quant_pipeline.runtime.postgres_account import Account, give_to, popen_as, server_account
from quant_pipeline.runtime.postgres_cluster import stop_server
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.storage.dsn import Dsn

BINARIES: Final = "QUANT_TEST_POSTGRES_BIN"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "Asia/Seoul"}
_SECONDS: Final = 60.0
# Throw-away data; a time zone that is nobody's, so that what relies on the server's own would show.
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "Asia/Seoul",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
}


def find_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`, None when the system has none.

    Raises:
        FileNotFoundError: the environment names a folder without them.
    """
    named = os.environ.get(BINARIES)
    if named:
        if not (Path(named) / "initdb").exists():
            msg = f"{BINARIES} names {named}, which holds no initdb; install Debian's package postgresql"
            raise FileNotFoundError(msg)
        return Path(named)
    found = [folder for folder in _DEBIAN.glob("*/bin") if re.fullmatch(r"\d+", folder.parent.name)]
    usable = [folder for folder in found if (folder / "initdb").exists()]
    return max(usable, key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def separate_server(binaries: Path, folder: Path) -> Iterator[Dsn]:
    """Run a cluster of its own in `folder`, which others may enter, inside a `with` block; yields a superuser's DSN.

    Its default order of text is that of the English language, as on a server that was not made for the desk.
    """
    data, log = folder / "data", folder / "log"
    account = server_account(data)
    password = secrets.token_urlsafe(24)
    give_to(folder, account)
    _initdb(binaries, data, password, account)
    port = choose_free_port()
    command = [str(binaries / "postgres"), "-D", str(data), "-c", f"port={port}"]
    for name, value in _SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGINT),  # noqa: PLW1509 - as for the embedded server
            **popen_as(account),
        )
    try:
        dsn = Dsn(LOOPBACK, port, "postgres", password, "postgres")
        answered = wait_until(lambda: process.poll() is not None or login_problem(dsn) is None, timeout=_SECONDS)
        if not answered or process.poll() is not None:
            msg = f"{command[0]} did not start; its log:\n{log.read_text()}"
            raise RuntimeError(msg)
        yield dsn
    finally:
        stop_server(process)


def _initdb(binaries: Path, data: Path, password: str, account: Account | None) -> None:
    """Make the cluster with options that PostgreSQL 15 has (`--locale-provider=builtin` came with 17)."""
    with tempfile.NamedTemporaryFile("w", dir=data.parent) as secret:
        secret.write(password)
        secret.flush()
        give_to(Path(secret.name), account)
        command = [str(binaries / "initdb"), f"--pgdata={data}", "--username=postgres", f"--pwfile={secret.name}"]
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
        command += ["--auth-host=scram-sha-256", "--auth-local=scram-sha-256", "--no-sync"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=_ENVIRONMENT, cwd="/", **popen_as(account)
        )
    if done.returncode != 0:
        msg = f"{command[0]} could not make a cluster: {done.stderr or done.stdout}"
        raise RuntimeError(msg)
