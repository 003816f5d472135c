"""How versions of steps stand to one another by age: what is newer than what was made from it, and what was never made.

Ids of versions grow with time, so age is a comparison of numbers. Age only says what has to be looked at; whether it is
stale is said by the hashes of its inputs, which the steps know.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database

type MonthKey = tuple[date, str]
"""The first day of a month, and a symbol."""

_NEWEST = "SELECT coalesce(max(id), 0) FROM data_versions"

_MARKS = """
SELECT date_trunc('month', session)::date AS month, symbol, max(coalesce(content_id, id)) AS changed,
       min(coalesce(checked_id, id)) AS checked, min(confirmed_at) AS confirmed_at
FROM data_versions WHERE market = :market AND step = :step AND is_current AND session < :before
GROUP BY 1, 2
"""

_MISSING = """
SELECT DISTINCT b.session FROM data_versions b
LEFT JOIN data_versions v
  ON v.market = b.market AND v.step = :step AND v.session = b.session AND v.symbol = b.symbol AND v.is_current
WHERE b.market = :market AND b.step = :source AND b.is_current AND b.symbol = ANY(:symbols)
  AND b.session BETWEEN :first AND :last AND b.content_hash <> :nothing AND v.id IS NULL
ORDER BY b.session
"""

_CHANGED_WITHIN = """
SELECT symbol, max(coalesce(content_id, id)) AS changed FROM data_versions
WHERE market = :market AND step = ANY(:steps) AND is_current AND session BETWEEN :first AND :last
GROUP BY symbol
"""

_SESSIONS = """
SELECT DISTINCT session FROM data_versions
WHERE market = :market AND step = :step AND is_current AND session >= :first AND session < :before ORDER BY session
"""

_CONFIRM = """
UPDATE data_versions v SET
    checked_id = greatest(coalesce(v.checked_id, v.id), :checked), confirmed_at = greatest(v.confirmed_at, :at)
FROM unnest(CAST(:sessions AS date[]), CAST(:symbols AS text[])) AS held (session, symbol)
WHERE v.market = :market AND v.step = :step AND v.session = held.session AND v.symbol = held.symbol AND v.is_current
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A step's versions of one symbol and month: the newest change of content, and since when the oldest was checked.

    `confirmed_at` is when that was, by the market's clock.
    """

    changed: int
    checked: int
    confirmed_at: datetime


def newest_version(db: Database) -> int:
    """The id of the newest version of any step; read before the inputs of a new one are."""
    with db.begin() as connection:
        found: int = connection.execute(text(_NEWEST)).scalar_one()
        return found


def month_marks(db: Database, market: str, step: str, before: date) -> dict[MonthKey, Mark]:
    """The marks of a step's current versions of the sessions before `before`."""
    with db.begin() as connection:
        rows = connection.execute(text(_MARKS), {"market": market, "step": step, "before": before})
        return {(row.month, row.symbol): Mark(row.changed, row.checked, row.confirmed_at) for row in rows}


def missing_sessions(
    db: Database,
    market: str,
    step: str,
    *,
    source: str,
    symbols: Collection[str],
    first: date,
    last: date,
    nothing: str,
) -> tuple[date, ...]:
    """Sessions from `first` to `last` in which some symbol has content (not `nothing`) of `source` and none of `step`."""
    parameters = {
        "market": market,
        "step": step,
        "source": source,
        "symbols": list(symbols),
        "first": first,
        "last": last,
        "nothing": nothing,
    }
    with db.begin() as connection:
        return tuple(connection.execute(text(_MISSING), parameters).scalars())


def changed_within(db: Database, market: str, steps: Sequence[str], first: date, last: date) -> dict[str, int]:
    """For each symbol the newest change of content of any of `steps` in the sessions from `first` to `last`."""
    parameters = {"market": market, "steps": list(steps), "first": first, "last": last}
    with db.begin() as connection:
        return {row.symbol: row.changed for row in connection.execute(text(_CHANGED_WITHIN), parameters)}


def recorded_sessions(db: Database, market: str, step: str, first: date, before: date) -> tuple[date, ...]:
    """The sessions from `first` on and before `before` that have a current version of `step`."""
    parameters = {"market": market, "step": step, "first": first, "before": before}
    with db.begin() as connection:
        return tuple(connection.execute(text(_SESSIONS), parameters).scalars())


def confirm_versions(
    db: Database, market: str, step: str, keys: Collection[tuple[date, str]], checked: int, at: datetime
) -> None:
    """Note that the current versions of these (session, symbol) still hold, all versions up to `checked` considered.

    `at` (aware) is the market's time.
    """
    if not keys:
        return
    ordered = sorted(keys)
    parameters = {
        "market": market,
        "step": step,
        "checked": checked,
        "at": as_utc(at),
        "sessions": [session for session, _ in ordered],
        "symbols": [symbol for _, symbol in ordered],
    }
    with db.begin() as connection:
        connection.execute(text(_CONFIRM), parameters)
