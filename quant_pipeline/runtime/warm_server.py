"""The process that has the heavy imports and forks a run from itself on request. Requests come from `warm_client`.

It speaks JSON lines over an inherited socket: it is told what to import, answers `ready` or `failed`, then forks one
child for each `run` and reports each child's end. When the socket closes it takes no more, waits for its children and
ends. Whatever it imports must not train or start threads: a fork copies only the forking thread.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import psutil

from quant_pipeline.runtime.numba_cache import set_thread_defaults

if TYPE_CHECKING:
    from dagster import DagsterInstance

_ALWAYS: Final = ("dagster._cli.api", "quant_pipeline.runtime.dagster_storage", "quant_pipeline.runtime.run_worker")
_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to execute, with Dagster's own serialized reference to the instance that knows it."""

    run_id: str
    instance_ref: str


@dataclass(slots=True)
class Channel:
    """JSON messages, one a line, over a connected socket."""

    connection: socket.socket
    _rest: bytes = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; one that nobody will read is dropped."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for data and return the complete messages in it; None when the other side is gone."""
        try:
            chunk = self.connection.recv(_CHUNK)
        except ConnectionResetError:
            return None
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


@dataclass(slots=True)
class ForkServer:
    """The loop of the server; single-threaded."""

    channel: Channel
    instance_ref: str
    _children: dict[int, str] = field(default_factory=dict)
    _open: bool = True

    def serve(self) -> RunRequest | None:
        """Serve until the other side is gone and no child is left (then None); *in a child* return its run."""
        wakeup, writing = os.pipe()
        for fd in (wakeup, writing):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, self._retire)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            selector.register(self.channel.connection, selectors.EVENT_READ)
            while self._open or self._children:
                ready = {key.fd for key, _ in selector.select(timeout=5.0)}
                if wakeup in ready:
                    os.read(wakeup, _CHUNK)
                self._reap()
                if self._open and self.channel.connection.fileno() in ready:
                    request = self._answer()
                    if request is not None:
                        for fd in (wakeup, writing):
                            os.close(fd)
                        return request
                if not self._open and self.channel.connection in selector.get_map():
                    selector.unregister(self.channel.connection)
        return None

    def _retire(self, _number: int, _frame: FrameType | None) -> None:
        """Take no more runs; those in progress finish (or get a signal of their own)."""
        self._open = False

    def _answer(self) -> RunRequest | None:
        """Read requests and fork for them; a request is returned only in its child."""
        messages = self.channel.receive()
        if messages is None:
            self._open = False
            return None
        for message in messages:
            if "retire" in message:
                self._open = False
                continue
            request = RunRequest(message["run_id"], self.instance_ref)
            pid = os.fork()
            if pid == 0:
                _become_a_run(self.channel)
                return request
            self._children[pid] = request.run_id
            self.channel.send({"started": request.run_id, "pid": pid})
        return None

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            run_id = self._children.pop(pid, None)
            if run_id is not None:
                self.channel.send({"exited": run_id, "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """SIGCHLD only has to wake the loop up."""


def _become_a_run(channel: Channel) -> None:
    """Undo in a fresh child what makes the server a server."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel.connection.close()
    os.setsid()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # the server's state would be every run's state


def execute(request: RunRequest) -> int:
    """Execute a run in this process as Dagster's own command does; 0 also for a run that failed in an ordinary way."""
    from dagster import DagsterInstance
    from dagster._cli.api import _execute_run_command_body
    from dagster._core.instance import InstanceRef
    from dagster._serdes import deserialize_value
    from dagster._utils.interrupts import capture_interrupts

    from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_identity

    reference = deserialize_value(request.instance_ref, InstanceRef)
    with capture_interrupts(), DagsterInstance.from_ref(reference) as instance:
        try:
            instance.add_run_tags(request.run_id, {WORKER_TAG: worker_identity(os.getpid())})
            return _execute_run_command_body(request.run_id, instance, _drop, set_exit_code_on_failure=False)
        except Exception:  # noqa: BLE001 - whatever it is must reach the run's event log: nobody else would tell it
            traceback.print_exc()
            _report(instance, request.run_id, traceback.format_exc())
            return 1


def _drop(_event: object) -> None:
    """Events are in the instance already."""


def _report(instance: DagsterInstance, run_id: str, text: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, f"The run could not be executed:\n{text}")


def prepare(order: dict[str, Any]) -> dict[str, Any]:
    """Import what is asked for; returns the answer, `ready` with figures or `failed` with the traceback."""
    began = time.monotonic()
    sys.path[:] = order["sys_path"]
    set_thread_defaults()
    # pyarrow's allocator would start a thread when it is imported.
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
    try:
        _inject_environment(order["instance_ref"])
        for name in (*_ALWAYS, *order["modules"]):
            importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - SystemExit too: all of it is reported to the launcher
        return {"failed": traceback.format_exc()}
    gc.collect()
    gc.freeze()  # what is shared with the children stays shared
    return {"ready": time.monotonic() - began, "threads": psutil.Process().num_threads()}


def _inject_environment(serialized: str) -> None:
    """Do what a code server does before it imports: take over the variables of the instance's secrets (`.env`)."""
    from dagster import DagsterInstance
    from dagster._core.instance import InstanceRef
    from dagster._serdes import deserialize_value

    from quant_pipeline.runtime.engine_pool import dispose_all

    with DagsterInstance.from_ref(deserialize_value(serialized, InstanceRef)) as instance:
        instance.inject_env_vars(None)
    dispose_all()


def main() -> None:
    """Entry point of the server, and of each run that is forked from it."""
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    orders: list[dict[str, Any]] | None = []
    while orders == []:
        orders = channel.receive()
    if orders is None:
        return
    answer = prepare(orders[0])
    channel.send(answer)
    if "failed" in answer:
        sys.exit(1)
    request = ForkServer(channel, orders[0]["instance_ref"]).serve()
    if request is not None:
        sys.exit(execute(request))
