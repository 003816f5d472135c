"""Data versions: the content hash of each (market, step, session, symbol), and from what it was computed.

Hashes are strings that the caller made; nothing is hashed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.restatements import Restated, record_restated
from quant_pipeline.storage.sql import as_utc, columns_of, records, select_list
from quant_pipeline.storage.staging import lock, query, run, stage
from quant_pipeline.storage.touched import Touched, take_off

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import pyarrow as pa

    from quant_pipeline.storage.database import Database

_KEY = ("market", "step", "session", "symbol")
_STAGED = """
market text, step text, session date, symbol text, content_hash text, inputs_hash text, code_hash text,
settings_hash text, created_at timestamptz, run_id text, window_from date, window_to date, checked_id int8
"""

# A row equal in content, inputs, code and settings is the same version again: it is only confirmed.
_SAME = """
WHERE v.market = s.market AND v.step = s.step AND v.session = s.session AND v.symbol = s.symbol AND v.is_current
  AND (v.content_hash, v.inputs_hash, v.code_hash, v.settings_hash)
    = (s.content_hash, s.inputs_hash, s.code_hash, s.settings_hash)
"""
_CONFIRM = f"""
UPDATE data_versions v SET
    confirmed_at = greatest(v.confirmed_at, s.created_at), checked_id = greatest(v.checked_id, s.checked_id)
FROM staged s {_SAME}
"""
_KEEP_NEW = f"DELETE FROM staged s USING data_versions v {_SAME}"

# What is current before the new versions are: their predecessors.
_HELD = """
CREATE TEMP TABLE held ON COMMIT DROP AS
SELECT v.market, v.step, v.session, v.symbol, v.id, v.content_hash, coalesce(v.content_id, v.id) AS content_id
FROM staged s JOIN data_versions v
  ON v.market = s.market AND v.step = s.step AND v.session = s.session AND v.symbol = s.symbol AND v.is_current
"""

_CONTENT_CHANGED = """
SELECT s.session, s.symbol FROM staged s LEFT JOIN held h USING (market, step, session, symbol)
WHERE h.content_hash IS DISTINCT FROM s.content_hash
ORDER BY s.session, s.symbol
"""

_RETIRE = """
UPDATE data_versions v SET is_current = false FROM staged s
WHERE v.market = s.market AND v.step = s.step AND v.session = s.session AND v.symbol = s.symbol AND v.is_current
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one symbol's session of a step: what it is, and from which inputs, code and settings it came.

    The window is the span of sessions of this symbol's bars that are behind it (None: not known). `checked_id` is the
    newest version (of any step) that was there before its inputs were read, so later ones may make it stale.
    """

    market: str
    step: str
    session: date
    symbol: str
    content_hash: str
    inputs_hash: str
    code_hash: str
    settings_hash: str
    created_at: datetime
    run_id: str
    window_from: date | None = None
    window_to: date | None = None
    checked_id: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class VersionChange:
    """What recording did: rows added to the history, and the (session, symbol) pairs whose content is new."""

    added: int
    content_changed: tuple[tuple[date, str], ...]


def put_versions(
    db: Database, rows: Iterable[Version], *, restated: Sequence[Restated] = (), seen: Sequence[Touched] = ()
) -> VersionChange:
    """Record versions and make them the current ones, in one transaction.

    A version whose content, inputs, code and settings all equal the current one's only notes in `confirmed_at` that
    it still holds; any difference adds a row, and the old one stays as history. Of a key given twice the last counts.

    `restated` become events if their content is new, and `seen` is taken off what waits to be looked at: with the
    versions or not at all.
    """
    given = {(row.market, row.step, row.session, row.symbol): row for row in rows}
    if not given:
        return VersionChange(0, ())
    names = ", ".join(columns_of(Version))
    chosen = ", ".join(name if name in _KEY else f"s.{name}" for name in columns_of(Version))
    with db.arrow() as connection, connection.cursor() as cursor:
        for market, step in sorted({key[:2] for key in given}):
            lock(cursor, f"versions/{market}/{step}")
        stage(cursor, "staged", _STAGED, _arrow([given[key] for key in sorted(given)]))
        run(cursor, _CONFIRM)
        run(cursor, _KEEP_NEW)
        run(cursor, _HELD)
        changed = query(cursor, _CONTENT_CHANGED).to_pylist()
        added = query(cursor, "SELECT count(*) FROM staged").column(0)[0].as_py()
        run(cursor, _RETIRE)
        run(
            cursor,
            f"INSERT INTO data_versions ({names}, confirmed_at, is_current, content_id)"
            f" SELECT {chosen}, s.created_at, true, CASE WHEN h.content_hash = s.content_hash THEN h.content_id END"
            " FROM staged s LEFT JOIN held h USING (market, step, session, symbol)"
            " ORDER BY market, step, session, symbol",
        )
        record_restated(cursor, restated)
        take_off(cursor, seen)
    return VersionChange(added, tuple((row["session"], row["symbol"]) for row in changed))


def current_versions(
    db: Database, market: str, step: str, sessions: Sequence[date], symbols: Sequence[str] | None = None
) -> dict[tuple[date, str], Version]:
    """The current version of each (session, symbol) that has one; `symbols` None means all."""
    if not sessions:
        return {}
    sql = (
        f"SELECT {select_list(Version)} FROM data_versions WHERE market = :market AND step = :step AND is_current"
        " AND session BETWEEN :first AND :last AND session = ANY(:sessions)"
    )
    parameters = {
        "market": market,
        "step": step,
        "first": min(sessions),
        "last": max(sessions),
        "sessions": list(sessions),
        "symbols": list(symbols) if symbols is not None else None,
    }
    if symbols is not None:
        sql += " AND symbol = ANY(:symbols)"
    with db.begin() as connection:
        rows = records(connection, Version, f"{sql} ORDER BY session, symbol", parameters)
    return {(row.session, row.symbol): row for row in rows}


def confirmed_times(
    db: Database, market: str, step: str, keys: Collection[tuple[date, str]]
) -> dict[tuple[date, str], datetime]:
    """When the current version of each of these (session, symbol) was made or last found to hold."""
    sql = text(
        "SELECT v.session, v.symbol, v.confirmed_at FROM data_versions v"
        " JOIN unnest(CAST(:sessions AS date[]), CAST(:symbols AS text[])) AS wanted (session, symbol)"
        " USING (session, symbol) WHERE v.market = :market AND v.step = :step AND v.is_current"
    )
    ordered = sorted(keys)
    days, symbols = [session for session, _ in ordered], [symbol for _, symbol in ordered]
    with db.begin() as connection:
        found = connection.execute(sql, {"market": market, "step": step, "sessions": days, "symbols": symbols})
        return {(row.session, row.symbol): row.confirmed_at for row in found}


def version_history(db: Database, market: str, step: str, session: date, symbol: str) -> tuple[Version, ...]:
    """Every version that one symbol's session of a step ever had, oldest first; the last one is current."""
    sql = (
        f"SELECT {select_list(Version)} FROM data_versions"
        " WHERE market = :market AND step = :step AND session = :session AND symbol = :symbol ORDER BY id"
    )
    parameters = {"market": market, "step": step, "session": session, "symbol": symbol}
    with db.begin() as connection:
        return records(connection, Version, sql, parameters)


def _arrow(rows: list[Version]) -> pa.Table:
    import pyarrow as pa

    types = dict.fromkeys(("session", "window_from", "window_to"), pa.date32()) | {"checked_id": pa.int64()}
    columns = {}
    for name in columns_of(Version):
        values = [getattr(row, name) for row in rows]
        if name == "created_at":
            columns[name] = pa.array([as_utc(value, name) for value in values], pa.timestamp("us", "UTC"))
        else:
            columns[name] = pa.array(values, types.get(name, pa.string()))
    return pa.table(columns)
