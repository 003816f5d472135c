"""Writing and reading the recomputable tables of a step: lake objects, content hashes, data versions.

A step hands over one frame for many sessions; this module splits it, hashes it per (session, symbol), stores one lake
object for each session whose bytes changed, and records versions. What is in the frame belongs to the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from quant_pipeline.core.identity import combine_hashes, content_hashes
from quant_pipeline.core.values import Origin
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import as_dates, session_column
from quant_pipeline.storage.versions import Version, current_versions, put_versions

Key = tuple[date, str]
Window = tuple[date, date]
_NO_WINDOW: tuple[None, None] = (None, None)
Number = float | int | str


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run is: when it happens, why, and which symbols it is limited to (None: all)."""

    now: datetime
    run_id: str
    origin: Origin = Origin.BACKFILL
    tick: bool = False
    symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """What a step did for one session: rows stored, hash of all its rows, numbers worth charting."""

    session: date
    rows: int
    content_hash: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did for all sessions of a run. `reused` sessions had unchanged inputs and were not recomputed."""

    outcomes: tuple[SessionOutcome, ...]
    reused: int = 0
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """How versions were made: what was known, and the sessions of bars behind each key (first, last).

    `after` is the newest version (`version_marks.newest_version`) before the inputs were read: later ones may make
    the new versions stale.
    """

    after: int | None
    windows: Mapping[Key, Window] = field(default_factory=dict)


def windows_of(*versions: Mapping[Key, Version]) -> dict[Key, Window]:
    """For each key the sessions of bars behind what is made from all of these versions; what has no window is absent."""
    spans: dict[Key, Window] = {}
    for known in versions:
        for key, version in known.items():
            if version.window_from is not None and version.window_to is not None:
                first, last = spans.get(key, (version.window_from, version.window_to))
                spans[key] = min(first, version.window_from), max(last, version.window_to)
    return spans


def group_hashes(frame: pd.DataFrame) -> dict[Key, str]:
    """SHA-256 of the rows of each (session, symbol) of a frame with `symbol` and `ts`, over all its other columns."""
    if frame.empty:
        return {}
    keyed = frame.sort_values(["symbol", "ts"], kind="stable").assign(
        session=lambda f: as_dates(session_column(f["ts"]))
    )
    hashes = content_hashes(keyed, by=("session", "symbol"))
    return {(date.fromisoformat(str(session)), str(symbol)): value for (session, symbol), value in hashes.items()}


def session_hashes(hashes: Mapping[Key, str], sessions: Iterable[date]) -> dict[date, str]:
    """One hash for all symbols of each session."""
    parts: dict[date, list[str]] = {session: [] for session in sessions}
    for (day, symbol), value in sorted(hashes.items()):
        if day in parts:
            parts[day].append(f"{symbol}={value}")
    return {session: combine_hashes(*listed) for session, listed in parts.items()}


def write_step(
    desk: Desk,
    market: str,
    step: str,
    frame: pd.DataFrame,
    *,
    sessions: Sequence[date],
    inputs: Mapping[Key, str],
    code_hash: str,
    settings_hash: str,
    context: RunContext,
    numbers: Mapping[date, Mapping[str, Number]] | None = None,
    made: Made | None = None,
) -> StepResult:
    """Store the rows of `frame` (columns `symbol`, `ts`, ...) for `sessions`; sessions without rows get an empty object.

    With `context.symbols` the rows of other symbols already stored for a session are kept.
    """
    merged = _keep_other_symbols(desk, market, step, frame, sessions, context.symbols)
    hashes = group_hashes(merged)
    days = session_column(merged["ts"])
    tables = {session: to_table(merged[days == np.datetime64(session)]) for session in sessions}
    desk.lake.put_tables(market, step, tables)
    combined = session_hashes(hashes, sessions)
    outcomes = [
        SessionOutcome(session, table.num_rows, combined[session], (numbers or {}).get(session, {}))
        for session, table in tables.items()
    ]
    record_versions(desk, market, step, hashes, inputs, code_hash, settings_hash, context, made=made)
    return StepResult(tuple(outcomes))


def record_versions(
    desk: Desk,
    market: str,
    step: str,
    hashes: Mapping[Key, str],
    inputs: Mapping[Key, str],
    code_hash: str,
    settings_hash: str,
    context: RunContext,
    *,
    made: Made | None = None,
) -> None:
    """Record one data version for each key of `inputs`; a key without rows has the hash of nothing."""
    put_versions(
        desk.db, new_versions(market, step, hashes, inputs, code_hash, settings_hash, context, made or Made(None))
    )


def new_versions(
    market: str,
    step: str,
    hashes: Mapping[Key, str],
    inputs: Mapping[Key, str],
    code_hash: str,
    settings_hash: str,
    context: RunContext,
    made: Made,
) -> list[Version]:
    """The rows that `record_versions` records."""
    empty = combine_hashes()
    return [
        Version(
            market=market,
            step=step,
            session=session,
            symbol=symbol,
            content_hash=hashes.get((session, symbol), empty),
            inputs_hash=inputs_hash,
            code_hash=code_hash,
            settings_hash=settings_hash,
            created_at=context.now,
            run_id=context.run_id,
            window_from=made.windows.get((session, symbol), _NO_WINDOW)[0],
            window_to=made.windows.get((session, symbol), _NO_WINDOW)[1],
            checked_id=made.after,
        )
        for (session, symbol), inputs_hash in inputs.items()
    ]


def stale_keys(
    desk: Desk, market: str, step: str, sessions: Sequence[date], inputs: Mapping[Key, str]
) -> frozenset[Key]:
    """Those of `inputs` whose stored version was made from other inputs, or which are not stored."""
    present = desk.lake.present(market, step, sessions)
    stored = current_versions(desk.db, market, step, sessions)
    return frozenset(
        key
        for key, wanted in inputs.items()
        if key[0] not in present or key not in stored or stored[key].inputs_hash != wanted
    )


def stored_outcomes(desk: Desk, market: str, step: str, sessions: Iterable[date]) -> tuple[SessionOutcome, ...]:
    """Outcomes of sessions that are kept as they are."""
    wanted = tuple(sessions)
    if not wanted:
        return ()
    versions = current_versions(desk.db, market, step, wanted)
    hashes = {
        key: version.content_hash for key, version in versions.items() if version.content_hash != combine_hashes()
    }
    counts = desk.lake.row_counts(market, step, wanted)
    combined = session_hashes(hashes, wanted)
    return tuple(SessionOutcome(s, counts.get(s, 0), combined[s], {"reused": 1}) for s in wanted)


def read_step(desk: Desk, market: str, step: str, sessions: Sequence[date]) -> pd.DataFrame:
    """The stored rows of a step for `sessions`, sorted by (symbol, ts); empty without columns when nothing is stored."""
    table = desk.lake.read_range(market, step, sessions)
    if table.num_rows == 0:
        return pd.DataFrame()
    frame: pd.DataFrame = table.to_pandas()
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True).astype("datetime64[ns, UTC]")
    return frame.sort_values(["symbol", "ts"], kind="stable", ignore_index=True)


def to_table(frame: pd.DataFrame) -> pa.Table:
    """A frame as an Arrow table without pandas metadata."""
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def merge_results(computed: StepResult, kept: tuple[SessionOutcome, ...]) -> StepResult:
    """One result, in session order, of what was computed and what was reused."""
    outcomes = sorted((*computed.outcomes, *kept), key=lambda outcome: outcome.session)
    return StepResult(tuple(outcomes), reused=len(kept), numbers=computed.numbers)


def _keep_other_symbols(
    desk: Desk, market: str, step: str, frame: pd.DataFrame, sessions: Sequence[date], symbols: tuple[str, ...] | None
) -> pd.DataFrame:
    if symbols is None:
        return frame
    stored = read_step(desk, market, step, sessions)
    if stored.empty:
        return frame
    others = stored[~stored["symbol"].isin(symbols)]
    if others.empty or frame.empty:
        return frame if others.empty else others.reset_index(drop=True)
    return pd.concat([frame, others], ignore_index=True).sort_values(["symbol", "ts"], kind="stable", ignore_index=True)
