"""Content hashes: equal content gives equal hashes, different content different ones, whatever holds it."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.identity import canonical_bytes, combine_hashes, content_hash, content_hashes
from quant_pipeline_tests.core.series import random_bars


def test_canonical_form_is_fixed_byte_by_byte() -> None:
    frame = pd.DataFrame({"x": [1.5, np.nan], "a": ["é", None]})
    expected = (
        struct.pack("<q", 1) + b"a" + struct.pack("<q", 2) + b"o"
        + b"s" + struct.pack("<q", 2) + b"\xc3\xa9" + b"0"
        + struct.pack("<q", 1) + b"x" + struct.pack("<q", 2) + b"f"
        + struct.pack("<dd", 1.5, math.nan)
    )  # fmt: skip
    assert canonical_bytes(frame) == expected


def test_a_known_table_has_a_known_hash() -> None:
    """Guards every stored hash: if this changes, all stored data versions change."""
    frame = pd.DataFrame(
        {
            "symbol": ["AAPL", "MSFT"],
            "ts": pd.to_datetime(["2024-01-02T05:00Z", "2024-01-02T05:00Z"]),
            "session": [date(2024, 1, 2)] * 2,
            "close": [185.64, 370.87],
            "vote": np.array([1, -1], dtype=np.int8),
            "ok": [True, False],
        }
    )
    assert content_hash(frame) == "021358a3853182fba59ad0f698d386831447d7904c1e4260c5b4034462fc963d"


def test_what_holds_the_values_does_not_matter() -> None:
    bars = random_bars(1, ("A", "B"), 40)
    expected = content_hash(bars)
    parts = pa.Table.from_batches(pa.Table.from_pandas(bars).to_batches(max_chunksize=7))
    assert content_hash(parts.to_pandas()) == expected
    assert content_hash(bars.sample(frac=1.0, random_state=1).sort_values(["symbol", "ts"])) == expected
    assert content_hash(bars[reversed(bars.columns)]) == expected
    assert content_hash({name: bars[name] for name in bars.columns}) == expected
    assert content_hash(bars.assign(symbol=bars["symbol"].astype("category"))) == expected
    assert content_hash(bars.assign(symbol=bars["symbol"].astype("string"))) == expected
    assert content_hash(bars.assign(ts=bars["ts"].dt.tz_convert("Asia/Seoul"))) == expected
    assert content_hash(bars.assign(ts=bars["ts"].astype("datetime64[us, UTC]"))) == expected
    assert content_hash({"n": np.array([1, 2], dtype=np.int8)}) == content_hash(
        {"n": np.array([1, 2], dtype=np.uint32)}
    )


def test_every_nan_and_both_zeros_are_the_same() -> None:
    odd_nan = np.array([0x7FF8000000000123, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    assert content_hash({"x": odd_nan}) == content_hash({"x": np.array([np.nan, np.nan])})
    assert content_hash({"x": np.array([-0.0])}) == content_hash({"x": np.array([0.0])})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"x": [1.0, 2.0]}, {"x": [2.0, 1.0]}),
        ({"x": [1.0]}, {"y": [1.0]}),
        ({"x": [1.0]}, {"x": [1]}),
        ({"x": ["ab", "c"]}, {"x": ["a", "bc"]}),
        ({"x": ["1"]}, {"x": [1]}),
        ({"x": [None]}, {"x": [""]}),
        ({"x": [0.1 + 0.2]}, {"x": [0.3]}),
        ({"x": [True]}, {"x": [1]}),
        ({"x": [date(2024, 1, 1)]}, {"x": [date(2024, 1, 2)]}),
        ({"x": [Decimal("1.1")]}, {"x": [Decimal("1.10001")]}),
        ({"x": [], "y": []}, {"x": []}),
    ],
)
def test_different_content_has_another_hash(left: dict[str, list[object]], right: dict[str, list[object]]) -> None:
    assert content_hash(pd.DataFrame(left)) != content_hash(pd.DataFrame(right))


def test_equal_decimals_and_instants_are_equal_however_written() -> None:
    assert content_hash({"x": [Decimal("1.50"), None]}) == content_hash({"x": [Decimal("1.5"), None]})
    assert content_hash({"x": [Decimal("-0.0")]}) == content_hash({"x": [Decimal("0E+3")]})
    assert content_hash({"x": [Decimal("1E+2")]}) == content_hash({"x": [Decimal(100)]})
    seoul = datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    mixed = pd.Series([seoul, None], dtype=object)
    assert content_hash({"x": mixed}) == content_hash({"x": pd.Series([seoul.astimezone(UTC), None], dtype=object)})


@given(
    values=st.lists(st.floats(allow_nan=True), min_size=1, max_size=30),
    names=st.lists(st.text(max_size=5), min_size=30, max_size=30),
    keys=st.lists(st.integers(0, 3), min_size=30, max_size=30),
)
def test_a_group_in_a_table_hashes_like_its_rows_alone(values: list[float], names: list[str], keys: list[int]) -> None:
    size = len(values)
    frame = pd.DataFrame({"key": keys[:size], "name": names[:size], "value": values})
    found = content_hashes(frame, by=("key",))
    assert set(found) == {(key,) for key in keys[:size]}
    for (key,), value in found.items():
        assert value == content_hash(frame[frame["key"] == key], ["name", "value"])


def test_a_group_of_dates_hashes_like_its_rows_alone_beside_a_group_without() -> None:
    frame = pd.DataFrame({"key": [1, 1, 2], "day": [date(2024, 1, 1), date(2024, 1, 2), None]})
    assert content_hashes(frame, by=("key",))[(1,)] == content_hash({"day": [date(2024, 1, 1), date(2024, 1, 2)]})


def test_groups_by_session_and_symbol() -> None:
    bars = random_bars(2, ("A", "B"), 5)
    keyed = bars.assign(session=bars["ts"].dt.date)
    found = content_hashes(keyed, by=("session", "symbol"), columns=["close"])
    assert len(found) == 10
    assert found[(date(2023, 1, 2), "B")] == content_hash({"close": bars["close"][6:7]})
    assert content_hashes(keyed.iloc[:0], by=("session", "symbol")) == {}


def test_tables_without_a_canonical_form_are_refused_with_the_column() -> None:
    with pytest.raises(ValueError, match="column ts has times without a zone"):
        content_hash({"ts": pd.to_datetime(["2024-01-01"])})
    with pytest.raises(ValueError, match="column x holds 2024-01-01 00:00:00 without a time zone"):
        content_hash({"x": pd.Series([datetime(2024, 1, 1), "a"], dtype=object)})  # noqa: DTZ001
    with pytest.raises(TypeError, match=r"column x holds .* of type set"):
        content_hash({"x": [{1}]})
    with pytest.raises(ValueError, match="columns close are not in the table; it has open"):
        content_hash(pd.DataFrame({"open": [1.0]}), ["close"])
    with pytest.raises(ValueError, match="are not unique"):
        content_hash(pd.DataFrame([[1.0, 2.0]], columns=["x", "x"]))
    with pytest.raises(ValueError, match=r"different lengths \[1, 2\]"):
        content_hash({"x": [1.0], "y": [1.0, 2.0]})


def test_combined_hashes_know_where_one_part_ends() -> None:
    assert combine_hashes("ab", "c") != combine_hashes("a", "bc")
    assert combine_hashes("a", "b") != combine_hashes("b", "a")
    assert combine_hashes("a") != combine_hashes("a", "")
    assert combine_hashes() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
