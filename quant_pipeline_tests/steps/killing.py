"""Processes that run a tick or a backfill and are killed (SIGKILL) right after one of their effects. Run as a module.

A forking server holds the imports, so that each killed process costs a fork and not the seconds of a start. An effect
of a tick is a transaction that changed the ledger, rows of decisions, or a POST that the exchange has answered: between
two of them a kill leaves the same state behind, wherever it falls. Effects of a backfill are bulk transactions, reading
ones too, and bars that the exchange has sent.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from quant_pipeline.settings import Settings
from quant_pipeline.storage.dsn import Dsn

_CHANGES = ("INSERT", "UPDATE", "DELETE")
_LEDGER = {"intents", "orders", "order_events", "fills", "positions", "cash_flows", "risk_state", "shadow_states"}
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Job:
    """A tick at `at` through the named steps, or with `sessions` a backfill of these; `kill_at` 0 lets it live."""

    settings: Settings
    dsn: Dsn
    market: str
    at: datetime
    steps: tuple[str, ...]
    kill_at: int
    sessions: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended: by which signal (0: none), with which exit code, after which effects."""

    signal: int
    code: int
    effects: tuple[str, ...]


class Killer:
    """The forking server, from the side of the tests."""

    def __init__(self) -> None:
        argv = [sys.executable, "-W", "ignore", "-m", "quant_pipeline_tests.steps.killing"]
        self._process = subprocess.Popen(
            argv, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, job: Job) -> Outcome:
        """Run a job in a process of its own and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(base64.b64encode(pickle.dumps(job)).decode() + "\n")
        answer = json.loads(self._process.stdout.readline())
        return Outcome(answer["signal"], answer["code"], tuple(answer["effects"]))

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


# Inside the server


class _Effects:
    """Counts the effects of this process, writes each down, and kills it after the given one."""

    def __init__(self, kill_at: int, pipe: int) -> None:
        self._kill_at = kill_at
        self._pipe = pipe
        self._count = 0

    def happened(self, what: str) -> None:
        self._count += 1
        os.write(self._pipe, f"{what}\n".encode())
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _watch(effects: _Effects) -> None:
    """Have every lasting effect of this process reported."""
    import httpx
    import requests
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from quant_pipeline.steps import broker_decisions, decisions, exits
    from quant_pipeline.storage.database import Database

    tables: list[str] = []

    @event.listens_for(Engine, "after_cursor_execute")
    def remember(_c: object, cursor: Any, statement: str, *_: object) -> None:
        words = statement.split()
        if words[0].upper() in _CHANGES and cursor.rowcount:
            tables.extend({words[1], words[2]} & _LEDGER)

    plain_begin: Callable[[Database], Any] = Database.begin

    @contextmanager
    def begin(self: Database) -> Iterator[Any]:
        tables.clear()
        with plain_begin(self) as connection:
            yield connection
        if tables:
            effects.happened(f"commit {' '.join(dict.fromkeys(tables))}")

    Database.begin = begin  # type: ignore[method-assign, assignment]
    for module in (broker_decisions, decisions, exits):
        module.append_decisions = _after(module.append_decisions, lambda *_: effects.happened("decisions"))  # type: ignore[attr-defined]

    def posted(_self: object, request: Any, *_: object) -> None:
        if request.method == "POST":
            effects.happened("POST")

    requests.adapters.HTTPAdapter.send = _after(requests.adapters.HTTPAdapter.send, posted)  # type: ignore[method-assign]
    httpx.HTTPTransport.handle_request = _after(httpx.HTTPTransport.handle_request, posted)  # type: ignore[method-assign]


def _watch_bulk(effects: _Effects) -> None:
    """Have bars that arrived and bulk transactions that ended reported."""
    import requests

    from quant_pipeline.storage.database import Database

    plain: Callable[[Database], Any] = Database.arrow

    @contextmanager
    def arrow(self: Database) -> Iterator[Any]:
        with plain(self) as connection:
            yield connection
        effects.happened("bulk")

    def got(_self: object, request: Any, *_: object) -> None:
        effects.happened(f"GET {request.url.partition('?')[0].rpartition('/')[2]}")

    Database.arrow = arrow  # type: ignore[method-assign, assignment]
    requests.adapters.HTTPAdapter.send = _after(requests.adapters.HTTPAdapter.send, got)  # type: ignore[method-assign]


def _after[**P, R](function: Callable[P, R], then: Callable[..., None]) -> Callable[P, R]:
    """`function`, with `then` called on its arguments once it is done."""

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        then(*args)
        return result

    return wrapped


def _work(job: Job, effects: _Effects) -> None:
    from contextlib import closing

    from quant_pipeline.core.values import Origin
    from quant_pipeline.steps import bars, book, decisions, orders
    from quant_pipeline.steps.tables import RunContext
    from quant_pipeline.steps.timing import tick_session
    from quant_pipeline.storage.database import Database
    from quant_pipeline_tests.steps.world import opened_desk

    steps: dict[str, Any] = {"bars": bars, "decisions": decisions, "orders": orders, "book": book}
    market = job.settings.market(job.market)
    sessions = job.sessions or (tick_session(market, job.at),)
    origin = Origin.BACKFILL if job.sessions else Origin.LIVE
    context = RunContext(job.at, "killed", origin, tick=not job.sessions)
    with closing(Database(job.dsn)) as database, opened_desk(job.settings, database) as desk:
        watch = _watch_bulk if job.sessions else _watch
        watch(effects)
        for name in job.steps:
            steps[name].run(desk, market, sessions, context)


def _fork(job: Job) -> dict[str, object]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            _work(job, _Effects(job.kill_at, writer))
            code = 0
        except BaseException:  # noqa: BLE001 - the exit code tells
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        effects = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {"signal": ended, "code": os.WEXITSTATUS(status) if not ended else -1, "effects": effects}


def _preload(names: Sequence[str]) -> None:
    """Import what every job needs; nothing is connected and no thread is started."""
    import importlib

    for name in names:
        importlib.import_module(name)


def main() -> None:
    """Serve jobs, one a line, until the input ends."""
    _preload(
        [
            "quant_pipeline_tests.steps.world",
            "quant_pipeline.venues.alpaca.clients",
            "quant_pipeline.venues.upbit.clients",
            "quant_pipeline.venues.upbit.seam",
            "alpaca.trading.client",
            "alpaca.data.historical",
            "upbit",
            "pyupbit",
            "adbc_driver_postgresql.dbapi",
            "psycopg2",
        ]
    )
    for line in sys.stdin:
        job: Job = pickle.loads(base64.b64decode(line))
        print(json.dumps(_fork(job)), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
