"""The small process around each child of a `ProcessGroup`: it ends the child and all that the child started.

It runs `python -c ... GRACE_SECONDS COMMAND...`. Its standard input is a pipe from the group's process: when that
closes, because the group stops the child or because its process was killed, the child is ended. It does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

import quant_pipeline
from quant_pipeline.runtime.parent_death import adopt_orphans, die_with_parent

_POLL_SECONDS: Final = 1.0
_LEFTOVER_SECONDS: Final = 8.0
"""What the child left behind, for example a run in progress, has this time (at most the grace) to end in order."""
_INDEPENDENT: Final = "quant_pipeline.runtime.postgres_supervisor"
"""Lives as long as the users of its server do, whoever started it; it is not ours to end."""


def keeper_command(argv: list[str], *, grace: float) -> list[str]:
    """The command line of a keeper for `argv`; it needs nothing from the environment, which belongs to the child."""
    root = str(Path(next(iter(quant_pipeline.__path__))).resolve().parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from quant_pipeline.runtime.keeper import main; main()"
    return [sys.executable, "-P", "-c", code, str(grace), *argv]


def main() -> None:
    """Entry point: ends with the child's exit code, or 128 + signal as shells do."""
    grace, argv = float(sys.argv[1]), sys.argv[2:]
    wakeup = _wakeup_pipe()
    adopts = adopt_orphans()
    # One thread, and it waits for the child to the end: what a request bound to the starting thread needs.
    child = subprocess.Popen(  # noqa: S603 - the command is the group's
        argv,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - single-threaded
    )
    stop_asked = False
    while child.poll() is None and not stop_asked:
        stop_asked = _wait(wakeup)
        if adopts:
            reap_orphans(child.pid)
    if child.poll() is None:
        _end(child, grace)
    code = child.wait()
    end_processes(_descendants, patience=min(grace, _LEFTOVER_SECONDS))
    reap_orphans(except_pid=0)
    sys.exit(code if code >= 0 else 128 - code)


def _wakeup_pipe() -> int:
    """A descriptor that becomes readable at SIGCHLD, SIGTERM, SIGINT and SIGHUP; the byte is the signal's number."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)
    return reading


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Only the wake-up matters."""


def _wait(wakeup: int) -> bool:
    """Wait until something happens; whether it is a reason to end the child."""
    ready, _, _ = select.select([wakeup, sys.stdin], [], [], _POLL_SECONDS)
    if wakeup in ready and any(number != signal.SIGCHLD for number in os.read(wakeup, 1024)):
        return True
    # The group never writes: readable means closed.
    return sys.stdin in ready


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the child to end, so that it can end its own children in its own order; kill it after `grace` seconds."""
    child.terminate()
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()


def reap_orphans(except_pid: int) -> None:
    """Collect adopted processes that have ended; the child itself is left to its `Popen`."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in (0, except_pid):
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def _descendants() -> list[psutil.Process]:
    """Every living process below this one, except embedded database servers, which have their own rule."""
    found: list[psutil.Process] = []
    waiting = psutil.Process().children()
    while waiting:
        process = waiting.pop()
        with contextlib.suppress(psutil.Error):
            if _INDEPENDENT not in process.cmdline():
                found.append(process)
                waiting += process.children()
    return found


def end_processes(find: Callable[[], list[psutil.Process]], *, patience: float) -> None:
    """End what `find` returns: first asked, then killed; looks again until nothing new turns up."""
    deadline = time.monotonic() + patience
    asked: set[psutil.Process] = set()
    while processes := [process for process in find() if _is_running(process)]:
        late = time.monotonic() >= deadline
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if late:
                    process.kill()
                elif process not in asked:
                    asked.add(process)
                    process.terminate()
        psutil.wait_procs(processes, timeout=0.2)
        if time.monotonic() >= deadline + patience:
            return  # unkillable (a hanging disk, another user): nothing more can be done from here


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
