"""Restatements: past bars that changed, came late or were withdrawn after results had been made from their session.

An event is written with the data version that makes it known, never alone. What used the old bytes is in `bar_usage`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from quant_pipeline.storage.sql import as_utc, canonical_json, columns_of, records, select_list
from quant_pipeline.storage.staging import query, run, stage

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.staging import Cursor

NOTIFICATION = "restatement"
"""The kind of the messages in the outbox; one for each recording, however many events it holds."""

Kind = Literal["changed", "late", "deleted"]

_STAGED = "session date, symbol text, interval text, kind text, bars int8, first_ts timestamptz"

# `staged` are the versions that were just added, `held` their predecessors: a change that somebody else recorded
# meanwhile is in neither, so that it is told once.
_RECORD = """
INSERT INTO restatements (market, symbol, interval, session, kind, bars, first_ts, old_version, new_version, old_hash,
                          new_hash, detected_at, run_id)
SELECT v.market, v.symbol, r.interval, v.session, r.kind, r.bars, r.first_ts, h.id, v.id, h.content_hash,
       v.content_hash, v.created_at, v.run_id
FROM restated r
JOIN staged s ON s.session = r.session AND s.symbol = r.symbol
JOIN held h ON h.market = s.market AND h.step = s.step AND h.session = s.session AND h.symbol = s.symbol
JOIN data_versions v
  ON v.market = s.market AND v.step = s.step AND v.session = s.session AND v.symbol = s.symbol AND v.is_current
WHERE h.content_hash <> s.content_hash
ORDER BY v.session, v.symbol, r.interval, r.kind
RETURNING id, market, symbol, interval, session, kind, bars, detected_at, run_id
"""
_TELL = """
INSERT INTO outbox (key, kind, market, payload, created_at, due_at) VALUES ($1, $2, $3, $4::text::jsonb, $5, $5)
ON CONFLICT (key) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Restated:
    """Bars of one symbol's session that are other than when results were made from them."""

    session: date
    symbol: str
    interval: str
    kind: Kind
    bars: int
    first_ts: datetime


@dataclass(frozen=True, slots=True)
class Restatement:
    """One event: what happened to which bars, and the data versions (ids and content hashes) before and after.

    `bars` counts stored bars of `interval`, `first_ts` is the start of the first of them (UTC). `detected_at` is the
    market's time at which the run `run_id` found it.
    """

    id: int
    market: str
    symbol: str
    interval: str
    session: date
    kind: str
    bars: int
    first_ts: datetime
    old_version: int
    new_version: int
    old_hash: str
    new_hash: str
    detected_at: datetime
    run_id: str


def record_restated(cursor: Cursor, restated: Sequence[Restated]) -> None:
    """Write events and one notification about them in the transaction that has just added the new versions."""
    import pyarrow as pa

    if not restated:
        return
    types = {"session": pa.date32(), "bars": pa.int64(), "first_ts": pa.timestamp("us", "UTC")}
    names = columns_of(Restated)
    columns = {name: pa.array([getattr(row, name) for row in restated], types.get(name, pa.string())) for name in names}
    stage(cursor, "restated", _STAGED, pa.table(columns))
    added = query(cursor, _RECORD).to_pylist()
    if added:
        first, at = added[0], max(row["detected_at"] for row in added)
        key = f"{NOTIFICATION}:{first['market']}:{first['id']}"
        run(cursor, _TELL, (key, NOTIFICATION, first["market"], canonical_json(_message(added)), as_utc(at)))


def restatements(
    db: Database,
    market: str | None = None,
    *,
    symbol: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> tuple[Restatement, ...]:
    """Events, newest first: of a market, of a symbol, detected at or after `since` (aware), at most `limit`."""
    sql = (
        f"SELECT {select_list(Restatement)} FROM restatements WHERE true"
        + (" AND market = :market" if market is not None else "")
        + (" AND symbol = :symbol" if symbol is not None else "")
        + (" AND detected_at >= :since" if since is not None else "")
        + " ORDER BY id DESC LIMIT CAST(:limit AS bigint)"
    )
    parameters = {
        "market": market,
        "symbol": symbol,
        "since": None if since is None else as_utc(since, "since"),
        "limit": limit,
    }
    with db.begin() as connection:
        return records(connection, Restatement, sql, parameters)


def _message(added: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What people are told: how many bars of which symbols and sessions."""
    bars: Counter[str] = Counter()
    for row in added:
        bars[row["kind"]] += row["bars"]
    sessions = [row["session"] for row in added]
    return {
        "events": len(added),
        "first_event": added[0]["id"],
        "bars": dict(bars),
        "symbols": sorted({row["symbol"] for row in added}),
        "first_session": min(sessions).isoformat(),
        "last_session": max(sessions).isoformat(),
        "run_id": added[0]["run_id"],
    }
