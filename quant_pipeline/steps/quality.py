"""The verdict on each symbol's session: what its bars, its holes, its feed and its past say. Trading on it is elsewhere.

Broken rules of single bars are found by `core.bars`; here they only enter the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from quant_pipeline.core.adjust import adjusted
from quant_pipeline.core.anchor import session_days
from quant_pipeline.core.bar_quality import Finding, judge_bars
from quant_pipeline.core.bars import Violation
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.jumps import Jump
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import adjustment_of, distrusted, jumps_in
from quant_pipeline.steps.bar_history import History, histories
from quant_pipeline.steps.coverage import intervals_of
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.gaps import Hole, find_holes
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bar_history import FeedChange, feed_changes
from quant_pipeline.storage.bar_quality import BarQuality, Status, record_quality

BROKEN_RULE, HOLES, OTHER_COMPANY = "broken_bar", "unexplained_holes", "other_company"
JUMP = "unexplained_jump"
SEAM, RESTART = "feed_seam", "history_restarts"


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found about the sessions of a run, and how many sessions with bars each symbol has before the last.

    `jumps` are moves that look like a split nobody told of, in or shortly before these sessions.
    """

    findings: tuple[Finding, ...]
    holes: tuple[Hole, ...]
    history: Mapping[str, int]
    jumps: tuple[Jump, ...] = ()

    def of(self, *rules: str) -> list[Finding]:
        """The findings under some rules."""
        return [finding for finding in self.findings if finding.rule in rules]


def judge(
    desk: Desk,
    market: MarketSettings,
    bars: pd.DataFrame,
    sessions: Sequence[date],
    symbols: Sequence[str],
    violations: Sequence[Violation],
    context: RunContext,
) -> Judged:
    """Judge `sessions` and store the verdict on each (session, symbol).

    `bars` are the raw decision bars, as far back as `limits.history_days` and `actions.read_from` say; `violations` the
    broken rules of those of `sessions`.
    """
    first, last, now = sessions[0], sessions[-1], context.now
    over = calendar.last_closed_session(market.market.calendar, now)
    adjustment = adjustment_of(desk, market, bars, last)
    jumps = jumps_in(market, bars, adjustment, first)
    # A tick only asks whether there is enough for a signal: counting further takes longer than all other checks.
    count = market.min_history_sessions if context.tick else market.ai.min_training_sessions
    known = histories(desk, market, symbols, first, last, count=count)
    holes = find_holes(desk, market, sessions, symbols, now)
    comparable = adjusted(bars, session_days(bars, None), adjustment, last)
    found = [
        *judge_bars(comparable, first, last, market.quality.limits(), over=over),
        *_broken(violations),
        *_jumps(market, jumps, sessions),
        *(_hole_finding(hole) for hole in holes),
        *_seams(desk, market, symbols, sessions),
        *_lives(market, known, bars, sessions),
    ]
    wanted = set(sessions)
    kept = tuple(sorted((f for f in found if f.session in wanted), key=lambda f: (f.session, f.symbol, f.rule)))
    record_quality(desk.db, _verdicts(market, kept, sessions, symbols, now))
    return Judged(kept, holes, {symbol: history.before(last) for symbol, history in known.items()}, jumps)


def _verdicts(
    market: MarketSettings, found: Iterable[Finding], sessions: Sequence[date], symbols: Sequence[str], now: datetime
) -> list[BarQuality]:
    by_key: dict[tuple[date, str], list[Finding]] = {(s, symbol): [] for s in sessions for symbol in symbols}
    for finding in found:
        by_key.setdefault((finding.session, finding.symbol), []).append(finding)
    return [_verdict(market, key, listed, now) for key, listed in by_key.items()]


def _verdict(market: MarketSettings, key: tuple[date, str], found: Sequence[Finding], now: datetime) -> BarQuality:
    held = [f for f in found if f.bad and f.rule != BROKEN_RULE]
    status: Status = "ok"
    if held:
        status = "bad"
    elif any(f.bad for f in found):
        status = "broken"
    elif found:
        status = "suspect"
    whole = any(f.since is None for f in held)
    since = min((f.since for f in held if f.since is not None), default=None)
    return BarQuality(
        market=market.name,
        session=key[0],
        symbol=key[1],
        status=status,
        rules=",".join(sorted({f.rule for f in found})),
        since=None if whole or since is None else since.to_pydatetime(),
        detail="; ".join(dict.fromkeys(f"{f.rule}: {f.detail}" for f in found)),
        checked_at=now,
    )


def _broken(violations: Sequence[Violation]) -> list[Finding]:
    return [
        Finding(v.symbol, v.ts.date(), BROKEN_RULE, bad=True, since=v.ts, detail=f"{v.rule} {v.value}")
        for v in violations
        if v.ts is not None
    ]


def _jumps(market: MarketSettings, jumps: Sequence[Jump], sessions: Sequence[date]) -> list[Finding]:
    """Sessions whose bars rest on a jump: as long as a feature looks back to it."""
    said: dict[str, list[Jump]] = {}
    for jump in jumps:
        said.setdefault(jump.symbol, []).append(jump)
    return [
        Finding(symbol, session, JUMP, bad=True, since=None, detail=_last(said[symbol], session).sentence())
        for symbol, session in distrusted(market, jumps, sessions)
    ]


def _last(jumps: Sequence[Jump], session: date) -> Jump:
    return [jump for jump in jumps if jump.session <= session][-1]


def _hole_finding(hole: Hole) -> Finding:
    since = None if hole.since is None else pd.Timestamp(hole.since)
    return Finding(hole.symbol, hole.session, HOLES, hole.has_bars and since is not None, since, hole.detail)


def _seams(desk: Desk, market: MarketSettings, symbols: Sequence[str], sessions: Sequence[date]) -> list[Finding]:
    """Sessions whose volume features reach back over a change of feed, and therefore are not defined."""
    reach = FEATURE_SET.warmup_days
    earlier = sessions[0] - timedelta(days=2 * reach + 10)
    changes = feed_changes(desk.db, market.name, intervals_of(market), symbols, earlier, sessions[-1])
    found: list[Finding] = []
    for change in changes:
        until = calendar.sessions(
            market.market.calendar, change.session, change.session + timedelta(days=2 * reach + 10)
        )[:reach][-1]
        found += [
            Finding(change.symbol, session, SEAM, bad=False, since=None, detail=_seam_text(change))
            for session in sessions
            if change.session <= session < until
        ]
    return found


def _seam_text(change: FeedChange) -> str:
    text = f"bars are of feed {change.feed!r} from {change.session} on, of {change.before!r} before"
    return f"{text}: values that would mix their volumes are not defined"


def _lives(
    market: MarketSettings, known: Mapping[str, History], bars: pd.DataFrame, sessions: Sequence[date]
) -> list[Finding]:
    """Bars of another company under the same symbol, and symbols that came back after a long hole."""
    found: list[Finding] = []
    for symbol, history in known.items():
        foreign = history.listed is not None and sessions[0] < history.listed
        held = {ts.date() for ts in bars.loc[bars["symbol"] == symbol, "ts"]} if foreign else ()
        for session in sessions:
            if history.listed is not None and session < history.listed and session in held:
                text = f"since {history.listed} {symbol} is another company; bars before are not its own"
                found.append(Finding(symbol, session, OTHER_COMPANY, bad=True, since=None, detail=text))
        for restart, before in history.restarts:
            text = f"no bars between {before} and {restart}; history counts from {restart} on"
            found += [
                Finding(symbol, session, RESTART, bad=False, since=None, detail=text)
                for session in sessions
                if session >= restart and history.before(session) < market.min_history_sessions
            ]
    return found
