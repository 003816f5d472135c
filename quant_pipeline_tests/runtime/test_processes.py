"""A group of child processes: readiness, failures, restarts, and nothing left behind however the end comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from quant_pipeline.runtime.errors import ChildFailedError
from quant_pipeline.runtime.log_files import rotate_log
from quant_pipeline.runtime.ports import choose_free_port
from quant_pipeline.runtime.postgres import EmbeddedPostgres, login_problem
from quant_pipeline.runtime.processes import ProcessGroup, is_ready
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline_tests.runtime.processes_of_tests import HOLDER, environment_of_tests, is_alive, read_line

pytestmark = pytest.mark.timeout(90)

SERVER = "import sys, http.server as h; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"

FAMILY = """
# A child with two descendants: one ignores requests to end, one runs in a session of its own after its parent ended.
import json, os, subprocess, sys, time
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
first = subprocess.Popen([sys.executable, "-c", stubborn])
leaving = '''
import subprocess, sys
command = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
'''
second = subprocess.run([sys.executable, "-c", leaving], capture_output=True, text=True, check=True)
with open(sys.argv[1] + ".new", "w") as file:
    json.dump([os.getpid(), first.pid, int(second.stdout)], file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""

SUPERVISOR = """
import sys
from pathlib import Path
from quant_pipeline.runtime.processes import ProcessGroup
folder = Path(sys.argv[1])
with ProcessGroup(grace=2.0) as group:
    group.start("family", [sys.executable, "-c", sys.argv[2], str(folder / "pids")], log_path=folder / "log")
    group.start("second", [sys.executable, "-c", sys.argv[2], str(folder / "pids2")], log_path=folder / "log2")
    print("up", flush=True)
    print(group.run_until_signal(), flush=True)
"""


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """A group whose children are gone after the test."""
    with ProcessGroup(grace=2.0) as group:
        yield group


def python(code: str, *arguments: str) -> list[str]:
    """The command line that runs some code."""
    return [sys.executable, "-c", code, *arguments]


def family(path: Path) -> list[int]:
    """The pids that a FAMILY writes down once it is complete."""
    assert wait_until(path.exists, timeout=20)
    pids = json.loads(path.read_text())
    assert all(is_alive(pid) for pid in pids)
    return list(pids)


def all_gone(pids: list[int], *, timeout: float = 15.0) -> bool:
    """Whether all processes end in time."""
    return wait_until(lambda: not any(is_alive(pid) for pid in pids), timeout=timeout)


@contextmanager
def supervisor(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs two families until a signal comes; it has said that they are started."""
    command = python(SUPERVISOR, str(folder), FAMILY)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment_of_tests(), start_new_session=True
    ) as process:
        try:
            assert read_line(process, timeout=30) == "up"
            yield process
        finally:
            process.kill()


def test_a_server_is_ready_when_its_url_answers(group: ProcessGroup, tmp_path: Path) -> None:
    port = choose_free_port()
    url = f"http://127.0.0.1:{port}/"
    assert not is_ready(url)
    group.start("web", python(SERVER, str(port)), log_path=tmp_path / "web.log", cwd=tmp_path, ready=url)
    group.wait_ready(30)
    assert is_ready(url)
    assert is_ready(f"tcp://127.0.0.1:{port}")
    group.stop()
    assert not is_ready(f"tcp://127.0.0.1:{port}")
    assert "GET /" in (tmp_path / "web.log").read_text()


@pytest.mark.parametrize("bad", ["127.0.0.1:80", "http://localhost/", "ftp://localhost:21"])
def test_a_readiness_that_cannot_be_checked_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="must be a function"):
        is_ready(bad)


def test_a_child_that_ends_before_it_is_ready_is_reported_with_its_log(group: ProcessGroup, tmp_path: Path) -> None:
    code = "import sys; print('cannot open the vault', file=sys.stderr); sys.exit(7)"
    group.start("broken", python(code), log_path=tmp_path / "broken.log", ready=lambda: False)
    with pytest.raises(ChildFailedError, match=r"(?s)broken ended with exit code 7.*cannot open the vault"):
        group.wait_ready(30)


def test_a_command_that_does_not_exist_is_reported(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("missing", ["/no/such/program"], log_path=tmp_path / "log", ready=lambda: False)
    with pytest.raises(ChildFailedError, match="/no/such/program"):
        group.wait_ready(30)


def test_a_child_that_is_never_ready_is_reported_at_the_deadline(group: ProcessGroup, tmp_path: Path) -> None:
    code = "import time; print('still thinking', flush=True); time.sleep(600)"
    group.start("slow", python(code), log_path=tmp_path / "slow.log", ready=lambda: False)
    started = time.monotonic()
    with pytest.raises(ChildFailedError, match=r"(?s)slow was not ready within 2 s.*still thinking"):
        group.wait_ready(2)
    assert time.monotonic() - started < 10


def test_stop_ends_descendants_that_ignore_requests_or_left_the_session(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("family", python(FAMILY, str(tmp_path / "pids")), log_path=tmp_path / "log")
    pids = family(tmp_path / "pids")
    keepers = list(group.pids().values())
    group.stop()
    assert not [pid for pid in [*pids, *keepers] if is_alive(pid)]


def test_a_database_server_stays_for_its_other_users_when_the_child_that_started_it_is_stopped(
    group: ProcessGroup, tmp_path: Path, state_dir: Path
) -> None:
    code = HOLDER.replace("sys.stdin.read()", "import time; time.sleep(600)")
    server = EmbeddedPostgres(state_dir, fast=True)
    ready = lambda: server.current() is not None  # noqa: E731
    argv = python(code, str(state_dir), "0")
    group.start("holder", argv, log_path=tmp_path / "log", env=environment_of_tests(), ready=ready)
    group.wait_ready(30)
    with server.session() as dsn:
        group.stop()
        assert server.current() == dsn
        assert login_problem(dsn) is None
    assert server.current() is None


def test_children_are_stopped_in_reverse_order(group: ProcessGroup, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = """
import signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1] + sys.argv[2], "w").close()
while True:
    time.sleep(1)
"""
    for name in "abc":
        up = Path(f"{order}{name}")
        group.start(name, python(code, str(order), name), log_path=tmp_path / name, ready=up.exists)
    group.wait_ready(30)
    group.stop()
    assert order.read_text() == "cba"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_supervisor_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    with supervisor(tmp_path) as process:
        pids = family(tmp_path / "pids") + family(tmp_path / "pids2")
        process.send_signal(number)
        assert read_line(process, timeout=10) == str(int(number))
        assert process.wait(40) == 0
        assert all_gone(pids, timeout=1)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted only on Linux")
def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    with supervisor(tmp_path) as process:
        pids = family(tmp_path / "pids") + family(tmp_path / "pids2")
        keepers = [child.pid for child in psutil.Process(process.pid).children()]
        process.kill()
        assert all_gone(pids + keepers, timeout=20)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_killed_keeper_takes_its_child_with_it_and_is_reported(group: ProcessGroup, tmp_path: Path) -> None:
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    log = tmp_path / "log"
    group.start("one", python(code), log_path=log)
    assert wait_until(lambda: log.exists() and log.read_text().endswith("\n"), timeout=20)
    os.kill(group.pids()["one"], signal.SIGKILL)
    assert all_gone([int(log.read_text())])
    with pytest.raises(ChildFailedError, match="one ended with exit code -9"):
        group.check()


def test_ctrl_c_in_the_terminal_reaches_only_the_supervisor(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("one", python("import time; time.sleep(600)"), log_path=tmp_path / "log")
    keeper = group.pids()["one"]
    assert wait_until(lambda: len(psutil.Process(keeper).children()) == 1, timeout=10)
    child = psutil.Process(keeper).children()[0].pid
    assert len({os.getpgid(0), os.getpgid(keeper), os.getpgid(child)}) == 3


def test_a_child_that_may_be_restarted_is_started_again(tmp_path: Path) -> None:
    notes: list[str] = []
    marks = tmp_path / "marks"
    code = """
import pathlib, sys, time
marks = pathlib.Path(sys.argv[1])
seen = marks.read_text() if marks.exists() else ""
marks.write_text(seen + "x")
if len(seen) < 1:
    sys.exit(3)
time.sleep(600)
"""
    with ProcessGroup(grace=2.0, notify=notes.append) as group:
        group.start("flaky", python(code, str(marks)), log_path=tmp_path / "log", restart=True)
        deadline = time.monotonic() + 30
        group.run_until_signal(every=0.1, until=lambda: len(notes) == 1 or time.monotonic() > deadline)
        assert wait_until(lambda: marks.read_text() == "xx", timeout=10)
    assert notes == ["flaky ended with exit code 3 and was started again"]


def test_a_child_that_may_not_be_restarted_ends_the_wait(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("short", python("print('done early')"), log_path=tmp_path / "log")
    with pytest.raises(ChildFailedError, match=r"(?s)short ended with exit code 0.*done early"):
        group.run_until_signal(every=0.1)


def test_signal_handlers_are_restored(group: ProcessGroup) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert group.run_until_signal(until=lambda: True) is None
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_children_of_one_name_are_refused(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("one", python("import time; time.sleep(600)"), log_path=tmp_path / "log")
    with pytest.raises(ValueError, match="'one' is already running"):
        group.start("one", python("pass"), log_path=tmp_path / "log")


def test_a_large_log_is_moved_aside(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("12345")
    rotate_log(log, limit=5)
    assert log.exists()
    rotate_log(log, limit=4)
    assert not log.exists()
    assert (tmp_path / "x.log.1").read_text() == "12345"
