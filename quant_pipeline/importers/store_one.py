"""One file that was read, into storage: what is left of it, its bars in one transaction, then its coverage."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from quant_pipeline.importers import results
from quant_pipeline.importers.closed import only_closed
from quant_pipeline.importers.companies import Spans, own_bars
from quant_pipeline.importers.coverage import record_file
from quant_pipeline.importers.errors import ImportRefused, NotBars
from quant_pipeline.importers.origins import prefer
from quant_pipeline.importers.references import read_reference, store_reference
from quant_pipeline.importers.results import ImportResult
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.markets.market import US_EQUITY
from quant_pipeline.storage.bars import BarPart, upsert_parts
from quant_pipeline.storage.database import Database


def store_bars(
    db: Database, parsed: ParsedFile, spans: Spans, *, at: datetime, replace_better: bool, feed: str | None = None
) -> ImportResult:
    """Store the closed bars of the file that are the company's own, and the coverage of its sessions.

    A bar that is stored of a better source stays (see `origins.py`), unless `replace_better`. `feed` stands for that of
    the file, unless its rows state where they came from. A process that dies
    between bars and coverage leaves sessions whose bars are newer than their coverage: the next import sees that.
    """
    try:
        closed = only_closed(parsed if feed is None else replace(parsed, feed=feed), at)
    except ImportRefused as refusal:
        return refused(parsed.path, refusal)
    own, left_out = own_bars(closed, spans)
    if own is None:
        reason = f"{parsed.path}: all {len(closed.frame)} bars are of another company: {left_out[0].reason}"
        return ImportResult(path=parsed.path, outcome="passed_by", reason=reason, left_out=left_out)
    preferred = None if replace_better else prefer
    change = upsert_parts(db, own.market, own.interval, parts_of(own), at=at, prefer=preferred)
    record_file(db, own, at=at, changed=frozenset(change.sessions))
    return replace(
        results.stored(own),
        not_closed=len(parsed.frame) - len(closed.frame),
        left_out=left_out,
        inserted=change.inserted,
        changed=change.changed,
        unchanged=change.unchanged,
        kept=change.kept,
        sessions=change.sessions,
    )


def store_reference_file(
    db: Database, path: Path, *, at: datetime, market: str | None, symbol: str | None
) -> ImportResult:
    """Read a Lean factor or map file and record what it says."""
    try:
        reference = read_reference(path, market=market, symbol=symbol)
    except ImportRefused as refusal:
        return refused(path, refusal)
    change = store_reference(db, reference, at=at)
    return ImportResult(
        path=path,
        outcome="stored",
        market=US_EQUITY.name,
        symbols=(reference.symbol,),
        format=reference.format,
        source="lean",
        rows_read=reference.rows,
        recorded=change.added,
        removed=change.bars_removed,
    )


def refused(path: Path, refusal: ImportRefused) -> ImportResult:
    """The result of a file that left nothing behind."""
    return ImportResult(
        path=path, outcome="passed_by" if isinstance(refusal, NotBars) else "refused", reason=str(refusal)
    )


def parts_of(parsed: ParsedFile) -> tuple[BarPart, ...]:
    """The bars of a file by where they came from."""
    if parsed.origins is None:
        return (BarPart(parsed.frame, parsed.source, parsed.feed, parsed.adjustment),)
    parts = []
    for origin in sorted(set(parsed.origins.itertuples(index=False, name=None))):
        kept = (parsed.origins == list(origin)).all(axis=1).to_numpy()
        parts.append(BarPart(parsed.frame.loc[kept], *origin))
    return tuple(parts)
