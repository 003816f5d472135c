"""Which sessions of which symbols had bars written since the bars step last looked at them; a queue, not a history.

Every write of bars adds to it in its own transaction, and so does what says something else about them (`FACTS`); who has
looked takes off what was not written again meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import columns_of, records, select_list
from quant_pipeline.storage.staging import lock, query, run, stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.staging import Cursor

FACTS = ""
"""The interval of a row that is about no bars but about what is said of them: their feed, the verdict on them."""

# `different` holds the bars of a write: symbol, ts, and whether the bar was known before.
_NOTE = """
INSERT INTO bars_touched AS t (market, session, symbol, interval, changed, inserted, deleted, first_ts, mark)
SELECT $1, found.session, found.symbol, $2, found.changed, found.inserted, found.deleted, found.first_ts,
       nextval('bars_touched_mark')
FROM (
    SELECT (ts AT TIME ZONE $3)::date AS session, symbol, count(*) FILTER (WHERE known AND NOT $4) AS changed,
           count(*) FILTER (WHERE NOT known) AS inserted, count(*) FILTER (WHERE known AND $4) AS deleted,
           min(ts) AS first_ts
    FROM different GROUP BY 1, 2
) AS found ORDER BY found.session, found.symbol
ON CONFLICT (market, session, symbol, interval) DO UPDATE SET
    changed = t.changed + excluded.changed, inserted = t.inserted + excluded.inserted,
    deleted = t.deleted + excluded.deleted, first_ts = least(t.first_ts, excluded.first_ts), mark = excluded.mark
"""

_NOTE_FACTS = """
INSERT INTO bars_touched AS t (market, session, symbol, interval, changed, inserted, deleted, first_ts, mark)
SELECT said.market, said.session, said.symbol, $1, 0, 0, 0, said.session::timestamp AT TIME ZONE 'UTC',
       nextval('bars_touched_mark')
FROM (SELECT DISTINCT market, session, symbol FROM said_anew) AS said ORDER BY said.market, said.session, said.symbol
ON CONFLICT (market, session, symbol, interval) DO UPDATE SET mark = excluded.mark
"""

# Another mark: bars were written after they were looked at, so somebody has to look again.
_TAKE_OFF = """
DELETE FROM bars_touched t USING seen s
WHERE t.market = s.market AND t.session = s.session AND t.symbol = s.symbol AND t.interval = s.interval
  AND t.mark = s.mark
"""
_SEEN = """
market text, session date, symbol text, interval text, changed int8, inserted int8, deleted int8,
first_ts timestamptz, mark int8
"""


@dataclass(frozen=True, slots=True)
class Touched:
    """Bars of one symbol's session written since somebody looked: how many of each kind, and the first start (UTC).

    A row of interval `FACTS` counts none. `mark` is another one after each write.
    """

    market: str
    session: date
    symbol: str
    interval: str
    changed: int
    inserted: int
    deleted: int
    first_ts: datetime
    mark: int


def note_touched(cursor: Cursor, market: str, interval: str, session_zone: str, *, deleted: bool) -> None:
    """Add the rows of the temporary table `different`, in the transaction that writes these bars."""
    lock(cursor, f"touched/{market}")
    run(cursor, _NOTE, (market, interval, session_zone, deleted))


def note_facts(cursor: Cursor, changed: str) -> None:
    """Add what a query finds (`market`, `session`, `symbol`), in the transaction that says something else about it."""
    run(cursor, f"CREATE TEMP TABLE said_anew ON COMMIT DROP AS {changed}")
    markets = query(cursor, "SELECT DISTINCT market FROM said_anew ORDER BY market").column(0).to_pylist()
    for market in markets:
        lock(cursor, f"touched/{market}")
    if markets:
        run(cursor, _NOTE_FACTS, (FACTS,))


def touched_bars(
    db: Database,
    market: str,
    symbols: Sequence[str],
    first: date,
    last: date | None = None,
) -> tuple[Touched, ...]:
    """What was written of `symbols` in the sessions from `first` to `last` (None: all later ones), by session."""
    sql = (
        f"SELECT {select_list(Touched)} FROM bars_touched WHERE market = :market AND session >= :first"
        " AND session <= coalesce(CAST(:last AS date), 'infinity') AND symbol = ANY(:symbols)"
        " ORDER BY session, symbol, interval"
    )
    parameters = {"market": market, "first": first, "last": last, "symbols": list(symbols)}
    with db.begin() as connection:
        return records(connection, Touched, sql, parameters)


def settle_touched(db: Database, seen: Sequence[Touched]) -> None:
    """Take off what was seen: it was looked at, and nothing has to be recorded about it."""
    if not seen:
        return
    with db.arrow() as connection, connection.cursor() as cursor:
        take_off(cursor, seen)


def take_off(cursor: Cursor, seen: Sequence[Touched]) -> None:
    """`settle_touched` in the caller's transaction."""
    import pyarrow as pa

    if not seen:
        return
    for market in sorted({row.market for row in seen}):
        lock(cursor, f"touched/{market}")
    types = {"session": pa.date32(), "first_ts": pa.timestamp("us", "UTC")}
    types |= dict.fromkeys(("changed", "inserted", "deleted", "mark"), pa.int64())
    names = columns_of(Touched)
    columns = {name: pa.array([getattr(row, name) for row in seen], types.get(name, pa.string())) for name in names}
    stage(cursor, "seen", _SEEN, pa.table(columns))
    run(cursor, _TAKE_OFF)


def count_touched(db: Database, market: str) -> int:
    """How many symbols' sessions of a market wait to be looked at, whatever the settings list."""
    with db.begin() as connection:
        sql = text("SELECT count(DISTINCT (session, symbol)) FROM bars_touched WHERE market = :market")
        found: int = connection.execute(sql, {"market": market}).scalar_one()
    return found
