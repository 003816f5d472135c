"""The embedded server as its users see it: sharing, killing, ports, paths and accounts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest

from quant_pipeline.runtime.errors import EmbeddedPostgresError
from quant_pipeline.runtime.file_lock import is_locked
from quant_pipeline.runtime.ports import LOOPBACK, accepts_connections, choose_free_port
from quant_pipeline.runtime.postgres import EmbeddedPostgres, login_problem
from quant_pipeline.runtime.postgres_files import PostgresFiles, ServerStatus
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.runtime.conftest import HolderFactory
from quant_pipeline_tests.runtime.processes_of_tests import HOLDER, environment_of_tests, is_alive, read_line

pytestmark = pytest.mark.timeout(120)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a process as another user")


def query(dsn: Dsn, text: str) -> list[tuple[object, ...]]:
    """Run one statement; rows if it gives any."""
    with closing(psycopg2.connect(dsn.adbc())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description is not None else []


def status_of(state_dir: Path) -> ServerStatus:
    """The record of a server that must be ready."""
    status = PostgresFiles(state_dir).status()
    assert status is not None
    return status


def test_first_start_gives_a_server_that_asks_for_the_private_password(state_dir: Path) -> None:
    with EmbeddedPostgres(state_dir).session() as dsn:
        assert query(dsn, "SHOW fsync") == [("on",)]
        assert query(dsn, "SELECT inet_server_addr()::text") == [(f"{LOOPBACK}/32",)]
        assert query(dsn, "SHOW unix_socket_directories") == [("",)]
        assert query(dsn, "SHOW server_encoding") == [("UTF8",)]
        stranger = Dsn(dsn.host, dsn.port, dsn.user, "guess", dsn.database)
        assert "password authentication failed" in str(login_problem(stranger))
        password_file = PostgresFiles(state_dir).password_file
        assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
        assert password_file.read_text() not in repr(dsn)
    assert not accepts_connections(dsn.port)


def test_password_is_in_no_command_line_and_no_log(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    with server.session() as dsn:
        status = status_of(state_dir)
        commands = [Path(f"/proc/{pid}/cmdline") for pid in (status.postgres_pid, status.supervisor_pid)]
        texts = [path.read_text() for path in commands if path.exists()]
        assert not [text for text in texts if dsn.password in text]
        assert dsn.password not in server.log_path.read_text()


def test_data_and_port_stay_from_one_session_to_the_next(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    with server.session() as first:
        query(first, "CREATE TABLE kept AS SELECT 7 AS number")
    with server.session() as second:
        assert second == first
        assert query(second, "SELECT number FROM kept") == [(7,)]


def test_the_server_leaves_with_its_last_user_and_not_before(state_dir: Path, holders: HolderFactory) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    dsn = server.ensure_running()
    other = holders(state_dir)
    assert other.port == dsn.port
    supervisor = status_of(state_dir).supervisor_pid
    server.stop()
    assert server.current() == dsn
    assert query(dsn, "SELECT 1") == [(1,)]
    other.leave()
    assert server.current() is None
    assert not is_alive(supervisor)


def test_a_killed_user_takes_nothing_from_the_others(state_dir: Path, holders: HolderFactory) -> None:
    starter, other = holders(state_dir), holders(state_dir)
    before = status_of(state_dir)
    starter.kill()
    # Twice the time that an unused server is kept.
    assert not wait_until(lambda: not is_alive(before.postgres_pid), timeout=6)
    assert status_of(state_dir) == before
    other.leave()


def test_a_killed_last_user_leaves_no_server(state_dir: Path, holders: HolderFactory) -> None:
    only = holders(state_dir)
    status = status_of(state_dir)
    only.kill()
    assert wait_until(lambda: not is_alive(status.postgres_pid), timeout=15)
    assert wait_until(lambda: not is_alive(status.supervisor_pid), timeout=15)
    assert not accepts_connections(only.port)


def test_a_user_who_comes_soon_after_the_last_one_was_killed_finds_the_same_server(
    state_dir: Path, holders: HolderFactory
) -> None:
    holders(state_dir).kill()
    before = status_of(state_dir)
    with EmbeddedPostgres(state_dir, fast=True).session():
        assert status_of(state_dir) == before


def test_a_killed_postgres_comes_back_on_its_port_with_its_data(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir)
    with server.session() as dsn:
        query(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
        before = status_of(state_dir)
        os.kill(before.postgres_pid, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(before.postgres_pid), timeout=10)
        assert server.ensure_running() == dsn
        assert query(dsn, "SELECT number FROM kept") == [(7,)]
        after = status_of(state_dir)
        assert after.supervisor_pid == before.supervisor_pid
        assert after.postgres_pid != before.postgres_pid


def test_a_server_that_takes_logins_counts_as_running_only_once_it_is_recorded(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that brings its server back takes the record away first, and writes it after logins work again."""
    with EmbeddedPostgres(state_dir).session() as dsn:
        record = status_of(state_dir)
        seen: list[ServerStatus | None] = [record, record, None, None]

        def status(_files: PostgresFiles) -> ServerStatus | None:
            return seen.pop(0) if seen else record

        monkeypatch.setattr(PostgresFiles, "status", status)
        other = EmbeddedPostgres(state_dir)
        assert other.ensure_running() == dsn
        assert seen == [], "it came back while there was no record"
        other.stop()


@pytest.mark.parametrize("also_postgres", [False, True], ids=["supervisor", "supervisor_and_postgres"])
def test_after_a_killed_supervisor_any_user_brings_the_server_back(state_dir: Path, *, also_postgres: bool) -> None:
    server = EmbeddedPostgres(state_dir)
    with server.session() as dsn:
        query(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
        before = status_of(state_dir)
        os.kill(before.supervisor_pid, signal.SIGKILL)
        if also_postgres:
            os.kill(before.postgres_pid, signal.SIGKILL)
        assert wait_until(lambda: not is_locked(PostgresFiles(state_dir).supervisor_lock), timeout=10)
        assert server.ensure_running() == dsn
        assert query(dsn, "SELECT number FROM kept") == [(7,)]
        assert not is_alive(before.postgres_pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_supervisor_takes_its_server_down_cleanly(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    server.ensure_running()
    status = status_of(state_dir)
    os.kill(status.supervisor_pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(status.postgres_pid), timeout=15)
    assert "database system is shut down" in server.log_path.read_text()
    server.stop()


def test_two_state_folders_have_two_servers(state_dir: Path) -> None:
    one, two = EmbeddedPostgres(state_dir / "one", fast=True), EmbeddedPostgres(state_dir / "two", fast=True)
    with one.session() as first, two.session() as second:
        assert first.port != second.port
        query(first, "CREATE TABLE only_here ()")
        assert query(second, "SELECT to_regclass('only_here')") == [(None,)]
        assert login_problem(Dsn(second.host, second.port, second.user, first.password, "postgres")) is not None


@pytest.mark.parametrize("name", ["a folder with spaces and 'quotes'", "폴더", "long" * 50])
def test_awkward_folder_names_work(state_dir: Path, name: str) -> None:
    with EmbeddedPostgres(state_dir / name, fast=True).session() as dsn:
        assert query(dsn, "SELECT 1") == [(1,)]


def test_stale_pid_of_a_living_stranger_is_not_believed_and_not_harmed(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    with server.session():
        data_dir = Path(status_of(state_dir).data_dir)
    with EmbeddedPostgres(state_dir / "other", fast=True).session() as other:
        stranger = status_of(state_dir / "other").postgres_pid
        for pid in (os.getpid(), stranger):
            (data_dir / "postmaster.pid").write_text(f"{pid}\n{data_dir}\n0\n{other.port}\n\n{LOOPBACK}\n\nready\n")
            with server.session() as dsn:
                assert query(dsn, "SELECT 1") == [(1,)]
        assert query(other, "SELECT 1") == [(1,)]


def test_a_busy_configured_port_is_named_with_its_setting_and_owner(state_dir: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as busy:
        port = int(busy.getsockname()[1])
        with pytest.raises(EmbeddedPostgresError) as caught:
            EmbeddedPostgres(state_dir, port, fast=True, setting="storage.port").ensure_running()
    message = str(caught.value)
    assert str(port) in message
    assert "'storage.port'" in message
    assert f"pid {os.getpid()}" in message


def test_a_busy_remembered_port_is_replaced(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    with server.session() as first:
        pass
    with socket.create_server((LOOPBACK, first.port)), server.session() as second:
        assert second.port != first.port
    with server.session() as third:
        assert third.port == second.port


def test_another_configured_port_than_the_running_one_is_refused(state_dir: Path) -> None:
    with EmbeddedPostgres(state_dir, fast=True).session() as dsn:
        other = EmbeddedPostgres(state_dir, choose_free_port(), setting="storage.port")
        with pytest.raises(EmbeddedPostgresError, match=rf"port {dsn.port} .*'storage.port'"):
            other.ensure_running()
        same = EmbeddedPostgres(state_dir, dsn.port)
        assert same.ensure_running() == dsn
        same.stop()


def test_a_start_that_fails_says_why_and_leaves_no_supervisor(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    with server.session():
        data_dir = Path(status_of(state_dir).data_dir)
    (data_dir / "global" / "pg_control").rename(data_dir / "global" / "hidden")
    with pytest.raises(EmbeddedPostgresError, match="pg_control"):
        server.ensure_running()
    assert wait_until(lambda: not is_locked(PostgresFiles(state_dir).supervisor_lock), timeout=10)


def test_data_of_another_major_version_is_refused(state_dir: Path) -> None:
    server = EmbeddedPostgres(state_dir, fast=True)
    with server.session():
        data_dir = Path(status_of(state_dir).data_dir)
    (data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 9"):
        server.ensure_running()


def test_several_processes_starting_at_once_share_one_server(state_dir: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(state_dir), "0"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment_of_tests())
        for _ in range(4)
    ]
    try:
        assert len({read_line(process, timeout=60) for process in started}) == 1
    finally:
        for process in started:
            process.communicate(timeout=60)
    assert [process.returncode for process in started] == [0, 0, 0, 0]
    assert EmbeddedPostgres(state_dir).current() is None


def test_deleting_the_state_folder_ends_the_server(state_dir: Path, tmp_path: Path) -> None:
    server = EmbeddedPostgres(state_dir / "gone", fast=True)
    server.ensure_running()
    status = status_of(state_dir / "gone")
    (state_dir / "gone").rename(tmp_path / "moved")
    assert wait_until(lambda: not is_alive(status.postgres_pid), timeout=20)
    assert wait_until(lambda: not is_alive(status.supervisor_pid), timeout=20)
    server.stop()


@needs_root
def test_an_ordinary_user_runs_the_server_as_itself(state_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    home = state_dir / "home of nobody"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    process = subprocess.Popen(
        [*as_user(nobody), sys.executable, "-c", HOLDER, str(home / "state"), "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**environment_of_tests(), "HOME": str(home)},
        cwd="/",
    )
    with process:
        try:
            read_line(process, timeout=60)
            status = status_of(home / "state")
            owners = {psutil.Process(pid).uids().real for pid in (status.postgres_pid, status.supervisor_pid)}
            assert owners == {nobody.pw_uid}
            assert Path(status.data_dir).parent == home / "state" / "postgres"
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    # Root may use what an ordinary user made: the server then runs as that user again.
    with EmbeddedPostgres(home / "state", fast=True).session():
        assert psutil.Process(status_of(home / "state").postgres_pid).uids().real == nobody.pw_uid


def as_user(user: pwd.struct_passwd) -> list[str]:
    """The command prefix that runs an interpreter as `user`, also one that lies in root's home."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv (util-linux)")
    # The right to search folders reaches the interpreter and the packages; the user is an ordinary one otherwise.
    search = "+dac_read_search"
    caps = [f"--inh-caps={search}", f"--ambient-caps={search}"]
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *caps, "--"]


@needs_root
def test_root_runs_the_server_as_somebody_else_and_leaves_modes_alone(state_dir: Path) -> None:
    before = state_dir.stat()
    with EmbeddedPostgres(state_dir, fast=True).session():
        assert psutil.Process(status_of(state_dir).postgres_pid).uids().real != 0
    assert (state_dir.stat().st_mode, state_dir.stat().st_uid) == (before.st_mode, before.st_uid)
