"""Which stored results no longer fit the bars as they are now. Recomputing them is a run of the same steps."""

from __future__ import annotations

from datetime import date, datetime

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars, signals
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import group_hashes
from quant_pipeline.steps.timing import tick_session
from quant_pipeline.storage.changes import last_stored_session, touched_sessions
from quant_pipeline.storage.versions import current_versions


def changed_sessions(desk: Desk, market: MarketSettings, *, now: datetime) -> tuple[date, date] | None:
    """The span that must be recomputed because bars of its first session are new or other than recorded; or None.

    The session that ticks are working on is left to them. The span ends with the last session that has results,
    because the shadow book depends on every session before; steps inside it recompute only what changed.
    """
    limit = tick_session(market, now)
    touched = [s for s in touched_sessions(desk.db, market.name, bars.STEP, market.history_start) if s < limit]
    changed = _really_changed(desk, market, touched, now) if touched else []
    if not changed:
        return None
    last = last_stored_session(desk.db, market.name, signals.STEP)
    return changed[0], max(changed[-1], min(last or changed[-1], limit))


def _really_changed(desk: Desk, market: MarketSettings, touched: list[date], now: datetime) -> list[date]:
    """Those of `touched` whose decision bars have another hash than their recorded version."""
    frame = decision_bars(desk, market, touched[0], touched[-1], closed_by=now)
    hashes = group_hashes(frame)
    stored = current_versions(desk.db, market.name, bars.STEP, touched)
    changed: list[date] = []
    for session in touched:
        wanted = {symbol: hashes.get((session, symbol), combine_hashes()) for symbol in market.symbols}
        known = {symbol: stored.get((session, symbol)) for symbol in market.symbols}
        if any(version is None or version.content_hash != wanted[symbol] for symbol, version in known.items()):
            changed.append(session)
    return changed
