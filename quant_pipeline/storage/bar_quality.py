"""What checks say of each symbol's session: sound, suspect or bad, and why. Judging bars belongs to core and the steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, columns_of, records, select_list
from quant_pipeline.storage.staging import lock, run, stage
from quant_pipeline.storage.touched import note_facts

if TYPE_CHECKING:
    import pyarrow as pa

    from quant_pipeline.storage.database import Database

Status = Literal["ok", "suspect", "broken", "bad"]
HOLDING: tuple[Status, ...] = ("bad", "broken")
"""Verdicts that change what is traded or learned; the others are only reported."""

_STAGED = """
market text, session date, symbol text, status text, rules text, since timestamptz, detail text, checked_at timestamptz
"""
_KEY = ("market", "session", "symbol")
_SAID = ("status", "rules", "since", "detail")
_HELD = "CASE WHEN {0}.status IN ('bad', 'broken') THEN concat_ws('|', {0}.status, {0}.rules, {0}.since) END"
_OTHER_VERDICT = f"""
SELECT s.market, s.session, s.symbol FROM staged s LEFT JOIN bar_quality q USING (market, session, symbol)
WHERE {_HELD.format("q")} IS DISTINCT FROM {_HELD.format("s")}
"""
_BEFORE_SPLIT = """
SELECT DISTINCT q.session, q.symbol FROM bar_quality q JOIN corporate_actions a USING (market, symbol)
WHERE q.market = :market AND q.symbol = ANY(CAST(:symbols AS text[])) AND q.status = 'bad'
  AND :rule = ANY(string_to_array(q.rules, ','))
  AND a.kind = 'split' AND a.known_at >= q.checked_at AND a.ex_date BETWEEN q.session - CAST(:days AS int) AND q.session
ORDER BY q.session, q.symbol
"""


@dataclass(frozen=True, slots=True)
class BarQuality:
    """The verdict on one symbol's session.

    `bad` bars are not traded and not learned from, beginning with the one at `since` (None: the whole session). In a
    `broken` session this concerns single bars, each of which breaks a rule by itself. `suspect` is reported only.
    `rules` are the codes behind it, separated by commas, `detail` says it in words.
    """

    market: str
    session: date
    symbol: str
    status: Status
    rules: str
    since: datetime | None
    detail: str
    checked_at: datetime


def record_quality(db: Database, rows: Iterable[BarQuality]) -> int:
    """Store verdicts, each replacing the one before where it says something else; returns how many were given.

    A verdict that changes what is traded or learned is noted in `bars_touched`.
    """
    given = {(row.market, row.session, row.symbol): row for row in rows}
    if not given:
        return 0
    names = columns_of(BarQuality)
    replaced = ", ".join(f"{name} = excluded.{name}" for name in names if name not in _KEY)
    said, new = (", ".join(f"{table}.{name}" for name in _SAID) for table in ("bar_quality", "excluded"))
    with db.arrow() as connection, connection.cursor() as cursor:
        for market in sorted({row.market for row in given.values()}):
            lock(cursor, f"quality/{market}")
        stage(cursor, "staged", _STAGED, _arrow([given[key] for key in sorted(given)]))
        note_facts(cursor, _OTHER_VERDICT)
        run(
            cursor,
            f"INSERT INTO bar_quality ({', '.join(names)}) SELECT {', '.join(names)} FROM staged"
            f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {replaced} WHERE ({said}) IS DISTINCT FROM ({new})",
        )
    return len(given)


def read_quality(
    db: Database, market: str, symbols: Sequence[str] | None, start: date, end: date, *, found_only: bool = False
) -> tuple[BarQuality, ...]:
    """Verdicts of the sessions `start` to `end` by (session, symbol); `found_only` leaves out those that are `ok`."""
    sql = (
        f"SELECT {select_list(BarQuality)} FROM bar_quality WHERE market = :market AND session BETWEEN :start AND :end"
    )
    if symbols is not None:
        sql += " AND symbol = ANY(:symbols)"
    if found_only:
        sql += " AND status <> 'ok'"
    parameters = {"market": market, "start": start, "end": end, "symbols": None if symbols is None else list(symbols)}
    with db.begin() as connection:
        return records(connection, BarQuality, f"{sql} ORDER BY session, symbol", parameters)


def judged_before_split(
    db: Database, market: str, symbols: Sequence[str], rule: str, *, days: int
) -> tuple[tuple[date, str], ...]:
    """The (session, symbol) that are bad by `rule`, as was said before a split up to `days` earlier became known."""
    with db.begin() as connection:
        found = connection.execute(
            text(_BEFORE_SPLIT), {"market": market, "symbols": list(symbols), "rule": rule, "days": days}
        )
        return tuple((row.session, row.symbol) for row in found)


def _arrow(rows: list[BarQuality]) -> pa.Table:
    import pyarrow as pa

    columns = {}
    for name in columns_of(BarQuality):
        values = [getattr(row, name) for row in rows]
        if name in ("since", "checked_at"):
            times = [None if value is None else as_utc(value, name) for value in values]
            columns[name] = pa.array(times, pa.timestamp("us", "UTC"))
        else:
            columns[name] = pa.array(values, pa.date32() if name == "session" else pa.string())
    return pa.table(columns)
