"""Bars of several origins in one write: which stays, what it is told, all or nothing; and reading where bars are from."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Literal

import pandas as pd
import pyarrow as pa
import pytest

from quant_pipeline.storage.bars import BarPart, Origin, delete_bars, read_bars, upsert_bars, upsert_parts
from quant_pipeline.storage.bars_read import known_span, session_bars
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.storage.builders import AT, MARKET, bars, later

_FROM, _TO = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_GOOD, _PLAIN, _POOR = ("good", "f", "raw"), ("plain", "f", "raw"), ("poor", "f", "raw")
_ORDER = ["good", "plain", "poor"]


def _prefer(stored: Origin, given: Origin) -> Literal["stored", "given"]:
    return "stored" if _ORDER.index(stored[0]) < _ORDER.index(given[0]) else "given"


def _part(frame: pd.DataFrame, origin: Origin) -> BarPart:
    return BarPart(frame, *origin)


def _read(db: Database) -> pd.DataFrame:
    return read_bars(db, MARKET, "1m", None, _FROM, _TO, with_origin=True)


def test_a_better_origin_stays_and_a_worse_one_gives_way_even_when_it_says_the_same(database: Database) -> None:
    frame = bars(["A"], "2024-05-01", 6)
    upsert_parts(database, MARKET, "1m", [_part(frame.iloc[:2], _GOOD), _part(frame.iloc[2:4], _POOR)], at=AT)
    other = frame.assign(close=frame["close"].where(frame.index % 2 == 0, 1.0))  # rows 1, 3 and 5 say something else
    change = upsert_parts(database, MARKET, "1m", [_part(other, _PLAIN)], at=later(1), prefer=_prefer)
    assert (change.inserted, change.changed, change.kept, change.unchanged) == (2, 2, 1, 1)
    stored = _read(database)
    assert stored["source"].tolist() == ["good", "good", "plain", "plain", "plain", "plain"]
    assert stored["close"].tolist() == [*frame["close"][:2], *other["close"][2:]]
    again = upsert_parts(database, MARKET, "1m", [_part(other, _PLAIN)], at=later(2), prefer=_prefer)
    assert (again.inserted, again.changed, again.kept, again.unchanged, again.sessions) == (0, 0, 1, 5, ())


def test_without_a_preference_the_given_numbers_count(database: Database) -> None:
    frame = bars(["A"], "2024-05-01", 2)
    upsert_bars(database, MARKET, "1m", frame, source="good", feed="f", adjustment="raw", at=AT)
    other = frame.assign(close=[frame["close"][0], 1.0])
    change = upsert_parts(database, MARKET, "1m", [_part(other, _POOR)], at=later(1))
    assert (change.changed, change.unchanged, change.kept) == (1, 1, 0)
    assert _read(database)["source"].tolist() == ["good", "poor"]


def test_one_unsound_part_leaves_nothing_of_the_others(database: Database) -> None:
    frame = bars(["A"], "2024-05-01", 2)
    broken = bars(["B"], "2024-05-01", 2).assign(close=[1.0, float("nan")])
    with pytest.raises(ValueError, match="close=nan"):
        upsert_parts(database, MARKET, "1m", [_part(frame, _GOOD), _part(broken, _GOOD)], at=AT)
    assert _read(database).empty
    assert upsert_parts(database, MARKET, "1m", [_part(frame.iloc[:0], _GOOD)], at=AT).sessions == ()


def test_session_bars_name_starts_origins_and_age_of_each_date(database: Database) -> None:
    frame = bars(["A", "B"], "2024-05-01T23:58", 4)
    first, second = frame[frame.index % 4 != 1], frame[frame.index % 4 == 1]
    upsert_parts(database, MARKET, "1m", [_part(first, _GOOD)], at=AT)
    upsert_parts(database, MARKET, "1m", [_part(second, _POOR)], at=later(1))
    table = session_bars(database, MARKET, "1m", ["A"], _FROM, _TO)
    assert table["session"].to_pylist() == [date(2024, 5, 1), date(2024, 5, 2)]
    assert table["source"].to_pylist() == ["good+poor", "good"]
    assert table["fetched_at"].to_pylist() == [later(1), AT]
    starts = [pd.Timestamp(value) for value in pa.compute.list_flatten(table["ts"]).to_pylist()]
    assert starts == frame.loc[frame["symbol"] == "A", "ts"].tolist()


def test_known_span_reaches_over_deleted_bars(database: Database) -> None:
    assert known_span(database, MARKET, "1m", None) is None
    frame = bars(["A", "B"], "2024-05-01", 4)
    upsert_parts(database, MARKET, "1m", [_part(frame, _GOOD)], at=AT)
    delete_bars(database, MARKET, "1m", frame.iloc[[0]], at=later(1))
    ends = frame["ts"].iloc[0], frame["ts"].iloc[3]
    assert known_span(database, MARKET, "1m", ["A"]) == ends
    assert known_span(database, MARKET, "1m", None) == ends
    assert known_span(database, MARKET, "1m", ["C"]) is None
