"""The checks of the bars asset as Dagster shows them: which there are, which of them stop a tick, what they say.

What is wrong with bars is found by the steps. A check stops a tick where wrong data would trade; findings about one
symbol do not, because that symbol is held with `bad_data` while the others, and their stops, go on.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from quant_pipeline.core.bar_quality import COLLAPSE, LEVEL, NO_VOLUME, OUTLIER, Finding
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.bars import BarsReport
from quant_pipeline.steps.quality import JUMP, OTHER_COMPANY, RESTART, SEAM

BLOCKING = {
    "schema": (
        "every bar has the expected columns and types, finite numbers",
        {"missing_column", "wrong_type", "not_finite"},
    ),
    "ohlc_sanity": (
        "low <= open, close <= high, prices above zero, volume not negative",
        {"price_not_positive", "low_above_body", "high_below_body", "negative_volume"},
    ),
    "no_duplicates": ("one bar for each symbol and time, in order", {"duplicate", "unsorted"}),
}
FOUND = {
    "volume": ("no bar without volume, no collapse or new level of a symbol's volume", (NO_VOLUME, COLLAPSE, LEVEL)),
    "outlier_moves": ("no move beyond what is usual for the symbol that no corporate action explains", (JUMP, OUTLIER)),
    "feed_seams": ("no volume feature reaches back over a change of feed", (SEAM,)),
    "identity": (
        "bars belong to the company that has the symbol today, without years between them",
        (OTHER_COMPANY, RESTART),
    ),
}
CHECKS = (*BLOCKING, "freshness", *FOUND, "withdrawals", "gaps", "history")
"""Every check of the bars."""
_SHOWN = 20


def check_specs(key: dg.AssetKey, market: MarketSettings) -> list[dg.AssetCheckSpec]:
    """The checks of the bars of a market."""
    stale = f"the newest bar is at most {market.quality.stale_minutes} minutes of trading late; on a holiday nothing is"
    reported = {
        **{name: text for name, (text, _) in FOUND.items()},
        "withdrawals": "the venue still gives every bar that it gave, but for those that it has withdrawn for certain",
        "gaps": "every slot of the sessions that are over has a bar or is known to have had no trade",
        "history": (
            f"every symbol has {market.min_history_sessions} sessions with bars, from which on there are signals, and "
            f"{market.ai.min_training_sessions}, from which on models are trained"
        ),
    }
    blocking = {name: text for name, (text, _) in BLOCKING.items()} | {"freshness": stale}
    return [
        *(dg.AssetCheckSpec(name, asset=key, description=text, blocking=True) for name, text in blocking.items()),
        *(dg.AssetCheckSpec(name, asset=key, description=text) for name, text in reported.items()),
    ]


def check_results(market: MarketSettings, found: BarsReport, *, tick: bool) -> list[dg.AssetCheckResult]:
    """The results of all checks. Those that block do so in a tick only; a range goes on with what is sound."""
    severity = dg.AssetCheckSeverity.ERROR if tick else dg.AssetCheckSeverity.WARN
    broken = {
        name: [f"{v.symbol} {v.ts} {v.rule}: {v.value}" for v in found.violations if v.rule in rules]
        for name, (_, rules) in BLOCKING.items()
    }
    return [
        *(_result(name, lines, severity) for name, lines in broken.items()),
        _freshness(found, severity),
        *(_result(name, _lines(found.judged.of(*rules))) for name, (_, rules) in FOUND.items()),
        _result("withdrawals", found.collected.doubts, withdrawn=found.collected.withdrawn),
        _gaps(found),
        _history(market, found, tick=tick),
    ]


def _result(
    name: str,
    lines: Sequence[str],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    **more: dg.MetadataValue[Any] | int,
) -> dg.AssetCheckResult:
    """Passed, or how many lines there are and the first of them."""
    metadata: dict[str, Any] = {"violations": len(lines), "first": _listed(lines), **more}
    return dg.AssetCheckResult(passed=not lines, check_name=name, severity=severity, metadata=metadata)


def _freshness(found: BarsReport, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    fresh = found.fresh
    said = "not judged: the run is about older sessions" if fresh is None else fresh.sentence()
    late = fresh is not None and fresh.late
    metadata = {"result": dg.MetadataValue.text(said)}
    return dg.AssetCheckResult(passed=not late, check_name="freshness", severity=severity, metadata=metadata)


def _gaps(found: BarsReport) -> dg.AssetCheckResult:
    over = [hole for hole in found.judged.holes if hole.session <= found.over]
    lines = [f"{hole.symbol} {hole.session}: {hole.detail}" for hole in over]
    given_up = [one.sentence() for one in found.given_up]
    return _result("gaps", lines, slots=sum(hole.slots for hole in over), given_up=_listed(given_up))


def _history(market: MarketSettings, found: BarsReport, *, tick: bool) -> dg.AssetCheckResult:
    """In a tick it is enough that there are signals: sessions are not counted any further."""
    lines: list[str] = []
    for symbol, count in sorted(found.judged.history.items()):
        if count < market.min_history_sessions:
            lines.append(f"{symbol}: {count} sessions with bars, no signal before {market.min_history_sessions}")
        elif count < market.ai.min_training_sessions and not tick:
            lines.append(f"{symbol}: {count} sessions with bars, no model before {market.ai.min_training_sessions}")
    return _result("history", lines)


def _lines(findings: Iterable[Finding]) -> list[str]:
    return [f"{f.symbol} {f.session} {f.rule}: {f.detail}" for f in findings]


def _listed(lines: Sequence[str]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in lines[:_SHOWN]) or "none")
