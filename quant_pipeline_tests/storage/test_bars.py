"""Bars: bit-exact round trips, restatements that keep the old value. Several writers are in `test_bar_writers`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from quant_pipeline.core.bars import validate_bars
from quant_pipeline.storage.bars import BarChange, bar_span, delete_bars, last_bars, read_bars, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.storage.builders import AT, MARKET, bars, later

_FROM, _TO = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def _write(db: Database, frame: pd.DataFrame, at: datetime = AT, interval: str = "1m", **changes: str) -> BarChange:
    named = {"source": "alpaca", "feed": "iex", "adjustment": "raw"} | changes
    return upsert_bars(db, MARKET, interval, frame, at=at, **named)


def _read(db: Database, as_of: datetime | None = None, interval: str = "1m") -> pd.DataFrame:
    return read_bars(db, MARKET, interval, None, _FROM, _TO, as_of=as_of)


def _revisions(db: Database) -> list:
    with db.begin() as connection:
        return list(connection.execute(text("SELECT * FROM bar_revisions ORDER BY id")).all())


def _places(db: Database) -> dict[tuple[str, datetime], tuple]:
    """Where each bar's row is, which transaction wrote it and which one last locked it."""
    sql = "SELECT symbol, ts, tableoid::regclass::text, ctid::text, xmin::text, xmax::text FROM bars"
    with db.begin() as connection:
        return {(row.symbol, row.ts): tuple(row)[2:] for row in connection.execute(text(sql))}


def test_what_was_written_comes_back_bit_for_bit(database: Database) -> None:
    frame = bars(["A", "B"], "2024-01-31 23:58", 5)
    frame.loc[0, "close"] = np.nextafter(0.1, 1)
    frame.loc[1, "volume"] = 5e-324
    frame.loc[2, "high"] = 1.7976931348623157e308
    change = _write(database, frame)
    assert (change.inserted, change.changed, change.unchanged) == (10, 0, 0)
    assert change.sessions == (
        ("A", date(2024, 1, 31)), ("A", date(2024, 2, 1)), ("B", date(2024, 1, 31)), ("B", date(2024, 2, 1)),
    )  # fmt: skip
    pd.testing.assert_frame_equal(_read(database), frame, check_exact=True)


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_double_survives_storage(database: Database, values: list[float]) -> None:
    frame = bars(["A"], "2024-01-02", 1)
    frame.loc[0, ["open", "high", "low", "close", "volume"]] = values
    _write(database, frame)
    assert _read(database).iloc[0, 2:].tolist() == values


def test_same_bars_again_change_nothing_and_keep_where_they_came_from(database: Database) -> None:
    frame = bars(["A"], "2024-01-02", 3)
    _write(database, frame)
    change = _write(database, frame.sample(frac=1, random_state=1), at=later(1), source="file", feed="x")
    assert change == BarChange(0, 0, 3, ())
    assert _revisions(database) == []
    with database.begin() as connection:
        rows = connection.execute(text("SELECT DISTINCT source, feed, fetched_at FROM bars")).all()
    assert [tuple(row) for row in rows] == [("alpaca", "iex", AT)]


def test_unchanged_bars_are_not_written_at_all_and_changed_ones_once(database: Database) -> None:
    """PostgreSQL says so itself: a row that was written or only locked has another place, writer or locker."""
    frame = bars(["A", "B"], "2024-01-31 23:00", 120)
    _write(database, frame)
    before = _places(database)
    _write(database, frame.iloc[::-1], at=later(1))
    assert _places(database) == before

    second = frame.copy()
    second.loc[[3, 200], "close"] += 1
    _write(database, second, at=later(2))
    after = _places(database)
    changed = {(row.symbol, row.ts.to_pydatetime()) for row in second.loc[[3, 200]].itertuples()}
    assert {key for key in before if after[key] != before[key]} == changed
    assert len(_revisions(database)) == 2


def test_restated_bar_keeps_its_old_value_with_both_times(database: Database) -> None:
    first = bars(["A", "B"], "2024-01-02", 3)
    _write(database, first)
    second = first.copy()
    second.loc[1, "close"] += 1
    change = _write(database, second, at=later(5), source="other")
    assert (change.inserted, change.changed, change.unchanged) == (0, 1, 5)
    assert change.sessions == (("A", date(2024, 1, 2)),)
    (old,) = _revisions(database)
    assert (old.symbol, old.close, old.source, old.kind) == ("A", first.loc[1, "close"], "alpaca", "changed")
    assert (old.fetched_at, old.superseded_at) == (AT, later(5))
    pd.testing.assert_frame_equal(_read(database), second)


def test_as_of_shows_what_was_known_then(database: Database) -> None:
    first = bars(["A"], "2024-01-02", 3)
    second, third = first.copy(), bars(["A"], "2024-01-02", 4)
    second.loc[1, "close"] += 1
    third.loc[:2] = second
    third.loc[1, "close"] += 1
    for minutes, frame in ((0, first), (10, second), (20, third)):
        _write(database, frame, at=later(minutes))
    delete_bars(database, MARKET, "1m", third.loc[[0], ["symbol", "ts"]], at=later(30))
    assert _read(database, later(-1)).empty
    pd.testing.assert_frame_equal(_read(database, later(0)), first)
    pd.testing.assert_frame_equal(_read(database, later(9.9)), first)
    pd.testing.assert_frame_equal(_read(database, later(10)), second)
    pd.testing.assert_frame_equal(_read(database, later(29)), third)
    pd.testing.assert_frame_equal(_read(database, later(30)), third.loc[1:].reset_index(drop=True))
    pd.testing.assert_frame_equal(_read(database), third.loc[1:].reset_index(drop=True))


def test_restatement_with_a_clock_that_went_back_loses_no_history(database: Database) -> None:
    first = bars(["A"], "2024-01-02", 1)
    second = first.assign(close=first["close"] + 1)
    _write(database, first, at=later(10))
    _write(database, second, at=later(5))
    assert [row.superseded_at for row in _revisions(database)] == [later(10)]
    assert len(_read(database, later(10))) == 1
    pd.testing.assert_frame_equal(_read(database, later(11)), second)


def test_deleted_bars_are_kept_as_revisions_and_absent_ones_ignored(database: Database) -> None:
    frame = bars(["A", "B"], "2024-01-02", 2)
    _write(database, frame)
    absent = pd.DataFrame({"symbol": ["A"], "ts": [pd.Timestamp("2024-02-02", tz="UTC")]})
    change = delete_bars(database, MARKET, "1m", pd.concat([frame.loc[[3], ["symbol", "ts"]], absent]), at=later(1))
    assert change == BarChange(0, 0, 0, (("B", date(2024, 1, 2)),), deleted=1)
    assert len(_read(database)) == 3
    (old,) = _revisions(database)
    assert (old.symbol, old.kind, old.close) == ("B", "deleted", frame.loc[3, "close"])
    assert delete_bars(database, MARKET, "1m", absent, at=later(2)) == BarChange(0, 0, 0, ())


def test_bar_that_comes_back_after_deletion_is_new_again(database: Database) -> None:
    frame = bars(["A"], "2024-01-02", 1)
    _write(database, frame)
    delete_bars(database, MARKET, "1m", frame, at=later(1))
    assert _write(database, frame, at=later(2)).inserted == 1
    assert [len(_read(database, later(minute))) for minute in (0, 1, 2)] == [1, 0, 1]


def test_markets_intervals_and_spans_are_kept_apart(database: Database) -> None:
    minutes, days = bars(["A", "B"], "2024-01-02", 3), bars(["A"], "2024-01-02", 3, freq="1D", seed=1)
    _write(database, minutes)
    _write(database, days, interval="1d")
    upsert_bars(database, "krw_crypto", "1m", minutes.assign(close=1.0), source="", feed="", adjustment="", at=AT)
    pd.testing.assert_frame_equal(_read(database, interval="1d"), days)
    some = read_bars(
        database, MARKET, "1m", ["B"], datetime(2024, 1, 2, 0, 1, tzinfo=UTC), datetime(2024, 1, 2, 0, 2, tzinfo=UTC)
    )
    pd.testing.assert_frame_equal(some, minutes.loc[[4]].reset_index(drop=True))
    span = bar_span(database, MARKET, "1m")
    assert span["symbol"].tolist() == ["A", "B"]
    assert span["rows"].tolist() == [3, 3]
    assert span.loc[0, "last"] == pd.Timestamp("2024-01-02 00:02", tz="UTC")


def test_nothing_stored_gives_a_sound_empty_frame(database: Database) -> None:
    for frame in (_read(database), _read(database, AT), last_bars(database, MARKET, "1m", ["A"], 5, AT)):
        assert frame.empty
        assert validate_bars(frame) == []
    assert bar_span(database, MARKET, "1m").empty
    assert _write(database, bars(["A"], "2024-01-02", 0)) == BarChange(0, 0, 0, ())


def test_last_bars_reach_over_months_and_stop_before_the_time(database: Database) -> None:
    frame = bars(["A", "B"], "2024-01-30", 5, freq="1D")
    _write(database, frame, interval="1d")
    before = datetime(2024, 2, 2, tzinfo=UTC)
    found = last_bars(database, MARKET, "1d", ["B", "C"], 2, before)
    pd.testing.assert_frame_equal(found, frame.loc[[6, 7]].reset_index(drop=True))
    assert len(last_bars(database, MARKET, "1d", ["A", "B"], 100, before)) == 6


def test_session_is_the_date_in_the_zone_given(database: Database) -> None:
    late = bars(["A"], "2024-01-03 00:30", 1)  # half past seven in the evening of the 2nd in New York
    change = upsert_bars(
        database, MARKET, "1m", late, source="", feed="", adjustment="", at=AT, session_zone="America/New_York"
    )
    assert change.sessions == (("A", date(2024, 1, 2)),)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.assign(close=[1.0, np.nan]), "has close=nan"),
        (lambda f: f.assign(high=[np.inf, 1.0]), "has high=inf"),
        (lambda f: f.assign(ts=f["ts"].dt.tz_localize(None)), "with a time zone"),
        (lambda f: f.assign(ts=f["ts"] + pd.Timedelta(1, "ns")), "fractions of a microsecond"),
        (lambda f: f.assign(ts=f["ts"].iloc[0]), "twice"),
        (lambda f: f.drop(columns="volume"), "lacks the columns"),
    ],
)
def test_unsound_frame_is_refused_whole(
    database: Database, spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _write(database, spoil(bars(["A"], "2024-01-02", 2)))
    assert _read(database).empty


def test_naive_time_of_fetching_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        _write(database, bars(["A"], "2024-01-02", 1), at=AT.replace(tzinfo=None))
