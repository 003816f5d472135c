"""Decisions: append-only rows of what was decided about each bar, and why. Nothing decides here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from quant_pipeline.core.values import Origin
from quant_pipeline.storage.sql import as_utc, canonical_json, columns_of, finite, records, select_list
from quant_pipeline.storage.staging import frame_of, query, stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    import pyarrow as pa

    from quant_pipeline.storage.database import Database

_FLOATS = frozenset({"score", "expected_return", "p_up", "confidence"})
_INTEGERS = frozenset({"version", "action", "vote", "members_usable"})
_EXACT = frozenset({"price", "qty", "notional", "equity"})
_TIMES = frozenset({"bar_ts", "bar_close", "decided_at"})
_SPAN = "market = :market AND book = :book AND session BETWEEN :start AND :end"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about one symbol's bar.

    `bar_ts` and `bar_close` are the UTC start and end of the bar; `action` and `vote` are -1, 0, 1; `reason` is a
    reason code; `price`, `notional` and `equity` are in the market's currency, `qty` in units of the symbol;
    `inputs` names the data versions it was made from. A re-run has a higher `version` and its own id.
    """

    id: str
    market: str
    book: str
    symbol: str
    session: date
    bar_ts: datetime
    bar_close: datetime
    origin: str
    version: int
    action: int
    reason: str
    vote: int
    score: float | None
    expected_return: float | None
    p_up: float | None
    confidence: float | None
    members_usable: int | None
    model_version_id: str | None
    price: Decimal | None
    qty: Decimal | None
    notional: Decimal | None
    equity: Decimal | None
    settings_hash: str
    code_hash: str
    platform_hash: str
    inputs: Mapping[str, Any]
    decided_at: datetime
    run_id: str


def append_decisions(db: Database, rows: Iterable[Decision]) -> int:
    """Add decisions, all or none; returns how many were new. An id that is there keeps the row it has.

    Raises:
        ValueError: a time without zone, or a number that is NaN or infinite.
    """
    given = {row.id: row for row in rows}
    if not given:
        return 0
    names = columns_of(Decision)
    staged = ", ".join(f"{name} {_staged_type(name)}" for name in names)
    chosen = ", ".join(f"{name}::exact" if name in _EXACT else name for name in names)
    chosen = chosen.replace("inputs", "inputs::jsonb")
    with db.arrow() as connection, connection.cursor() as cursor:
        stage(cursor, "staged", staged, _arrow([given[key] for key in sorted(given)]))
        added = query(
            cursor,
            f"INSERT INTO decisions ({', '.join(names)}) SELECT {chosen} FROM staged ORDER BY id"
            " ON CONFLICT (id) DO NOTHING RETURNING id",
        )
    return int(added.num_rows)


def decision(db: Database, decision_id: str) -> Decision | None:
    """The decision with that id, or None."""
    with db.begin() as connection:
        sql = f"SELECT {select_list(Decision)} FROM decisions WHERE id = :id"
        found = records(connection, Decision, sql, {"id": decision_id})
    return found[0] if found else None


def latest_decisions(
    db: Database, market: str, book: str, start: date, end: date, *, origin: Origin | None = None
) -> tuple[Decision, ...]:
    """The newest version about each bar of the sessions `start` to `end` (both included), by (session, symbol, bar).

    With `origin` only decisions written for that reason count.
    """
    sql = (
        f"SELECT DISTINCT ON (session, symbol, bar_ts) {select_list(Decision)} FROM decisions WHERE {_SPAN}"
        + (" AND origin = :origin" if origin is not None else "")
        + " ORDER BY session, symbol, bar_ts, version DESC, decided_at DESC, id"
    )
    parameters = {"market": market, "book": book, "start": start, "end": end, "origin": origin}
    with db.begin() as connection:
        return records(connection, Decision, sql, parameters)


def decision_frame(db: Database, market: str, book: str, start: date, end: date) -> pd.DataFrame:
    """`latest_decisions` as a frame for figures: exact numbers as float64, `inputs` left out."""
    names = [name for name in columns_of(Decision) if name != "inputs"]
    chosen = ", ".join(f"{name}::float8 AS {name}" if name in _EXACT else name for name in names)
    with db.arrow() as connection, connection.cursor() as cursor:
        table = query(
            cursor,
            f"SELECT DISTINCT ON (session, symbol, bar_ts) {chosen} FROM decisions"
            " WHERE market = $1 AND book = $2 AND session BETWEEN $3 AND $4"
            " ORDER BY session, symbol, bar_ts, version DESC, decided_at DESC, id",
            (market, book, start, end),
        )
    return frame_of(table)


def _staged_type(name: str) -> str:
    if name in _FLOATS:
        return "float8"
    if name in _INTEGERS:
        return "int4"
    if name in _TIMES:
        return "timestamptz"
    return "date" if name == "session" else "text"


def _arrow(rows: list[Decision]) -> pa.Table:
    import pyarrow as pa

    columns = {}
    for name in columns_of(Decision):
        values = [_plain(getattr(row, name), name) for row in rows]
        if name in _FLOATS:
            columns[name] = pa.array(values, pa.float64())
        elif name in _INTEGERS:
            columns[name] = pa.array(values, pa.int32())
        elif name in _TIMES:
            columns[name] = pa.array(values, pa.timestamp("us", "UTC"))
        else:
            columns[name] = pa.array(values, pa.date32() if name == "session" else pa.string())
    return pa.table(columns)


def _plain(value: object, name: str) -> object:
    """The value in the form in which it is staged: exact numbers and JSON as text."""
    if isinstance(value, datetime):
        return as_utc(value, name)
    if isinstance(value, Decimal):
        return str(finite(value, name))
    if isinstance(value, Mapping):
        return canonical_json(value)
    if isinstance(value, float):
        finite(Decimal(value), name)
    return value
