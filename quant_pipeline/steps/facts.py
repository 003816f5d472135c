"""What is known about bars beside their numbers, as far as results depend on it: the feed in use, and a verdict that holds.

Both may change while the bars stay. Judging belongs to `quality.py`, feeds to `coverage.py`; here is what versions of them
are, so that results made from others are found. A version exists where something was said anew after results were made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.coverage import used_coverage
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import Key, Made, RunContext, record_versions
from quant_pipeline.storage.bar_quality import HOLDING, BarQuality, read_quality
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.touched import FACTS, Touched, touched_bars
from quant_pipeline.storage.version_marks import newest_version
from quant_pipeline.storage.versions import Version, current_versions

STEP = "bar_facts"
_NO_BARS = combine_hashes()


def record_facts(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    symbols: Sequence[str],
    stored: Mapping[Key, Version],
    context: RunContext,
) -> tuple[Touched, ...]:
    """Record versions of what was said anew about bars of `sessions`; returns what was seen, to be taken off.

    Args:
        desk: where versions are.
        market: whose bars.
        sessions: those that are looked at.
        symbols: the same.
        stored: the versions of their bars as results know them: what is said with the first bars is no change.
        context: the run.
    """
    after = newest_version(desk.db)
    wanted = set(sessions)
    waiting = touched_bars(desk.db, market.name, symbols, min(wanted), max(wanted))
    seen = tuple(row for row in waiting if row.interval == FACTS and row.session in wanted)
    keys = _with_results({(row.session, row.symbol) for row in seen}, stored)
    if keys:
        hashes = facts_of(desk, market, keys)
        record_versions(desk, market.name, STEP, hashes, hashes, "", "", context, made=Made(after))
    return seen


def other_facts(
    desk: Desk, market: MarketSettings, rows: Collection[Touched], stored: Mapping[Key, Version]
) -> frozenset[Key]:
    """The (session, symbol) of `rows` of which something else is said than their version knows; `stored` as above."""
    keys = _with_results({(row.session, row.symbol) for row in rows if row.interval == FACTS}, stored)
    if not keys:
        return frozenset()
    known = current_versions(desk.db, market.name, STEP, sorted({session for session, _ in keys}))
    found = facts_of(desk, market, keys)
    return frozenset(key for key in keys if key not in known or known[key].content_hash != found[key])


def facts_of(desk: Desk, market: MarketSettings, keys: Collection[Key]) -> dict[Key, str]:
    """A hash of what is said about the bars of each of these (session, symbol), which must not be none."""
    sessions, symbols = sorted({session for session, _ in keys}), sorted({symbol for _, symbol in keys})
    span = sessions[0], sessions[-1]
    covered = used_coverage(market, read_coverage(desk.db, market.name, symbols, *span))
    judged = read_quality(desk.db, market.name, symbols, *span, found_only=True)
    held = {(row.session, row.symbol): _said(row) for row in judged if row.status in HOLDING}
    feeds = {key: row.feed for key, row in covered.items() if row.present > 0}
    return {key: combine_hashes(feeds.get(key, ""), *held.get(key, ())) for key in keys}


def _with_results(keys: Collection[Key], stored: Mapping[Key, Version]) -> frozenset[Key]:
    """Those whose bars results may have been made from."""
    return frozenset(key for key in keys if key in stored and stored[key].content_hash != _NO_BARS)


def _said(row: BarQuality) -> tuple[str, ...]:
    return row.status, row.rules, "" if row.since is None else row.since.isoformat()
