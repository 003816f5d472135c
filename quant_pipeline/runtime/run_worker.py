"""Which process executes a run: written on the run as a tag, readable from any process. Starts and ends nothing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import psutil
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

if TYPE_CHECKING:
    from dagster import DagsterRun

WORKER_TAG: Final = f"{HIDDEN_TAG_PREFIX}quant_worker"
"""Host, process id and start time of the run's process. The process itself writes it before the run starts: Dagster
stores tags and status in one value, and two processes that write it at once would undo each other."""


def worker_identity(pid: int) -> str:
    """Host, process id and start time: unlike a process id alone, never somebody else's later."""
    try:
        started = f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        started = "gone"
    return f"{socket.gethostname()}:{pid}:{started}"


def worker_process(run: DagsterRun) -> psutil.Process | None:
    """The living process of an unfinished run on this host, None if there is none or it is not known."""
    identity = run.tags.get(WORKER_TAG)
    if identity is None or run.is_finished:
        return None
    pid = int(identity.rsplit(":", 2)[1])
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if alive and worker_identity(pid) == identity else None
