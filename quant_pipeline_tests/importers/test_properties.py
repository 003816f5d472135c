"""What holds for any rows: order and repetition do not matter, and the result is what a plain reference says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from quant_pipeline.core.bars import validate_bars
from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.read import read_file
from quant_pipeline_tests.importers.price_files import HEADER, frame_of, line, session_days, utc, write

_SESSIONS = session_days("2024-01-02", "2024-12-31")
_relaxed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _stamp(minute: int) -> str:
    return str(np.datetime64("2024-05-01T00:00:00") + np.timedelta64(minute, "m")).replace("T", " ")


@_relaxed
@given(st.data())
def test_shuffled_and_repeated_rows_give_the_same_frame(tmp_path: Path, data: st.DataObject) -> None:
    numbers = sorted(data.draw(st.sets(st.integers(0, 3000), min_size=2, max_size=40)))
    repeated = data.draw(st.lists(st.sampled_from(numbers), max_size=10))
    rows = [line(_stamp(number), number) for number in [*numbers, *repeated]]
    content = "\n".join([HEADER, *data.draw(st.permutations(rows))])
    parsed = read_file(write(tmp_path / "KRW-BTC.csv", content), interval="1m")
    assert_frame_equal(parsed.frame, frame_of("KRW-BTC", [utc(_stamp(number)) for number in numbers], numbers))
    assert parsed.duplicates_dropped == len(repeated)
    assert parsed.slots_missing == numbers[-1] - numbers[0] + 1 - len(numbers)
    assert validate_bars(parsed.frame) == []


@_relaxed
@given(st.data())
def test_one_contradicting_row_refuses_the_file_wherever_it_stands(tmp_path: Path, data: st.DataObject) -> None:
    days = sorted(data.draw(st.sets(st.sampled_from(_SESSIONS), min_size=2, max_size=20)))
    torn = data.draw(st.integers(0, len(days) - 1))
    rows = [line(day, number) for number, day in enumerate(days)] + [line(days[torn], 90)]
    order = data.draw(st.permutations(rows))
    path = write(tmp_path / "KO.csv", "\n".join([HEADER, *order]))
    lines = [number for number, text in enumerate(order, start=2) if text.startswith(days[torn])]
    with pytest.raises(ImportRefused, match=f"lines {lines[0]}, {lines[1]} give") as refusal:
        read_file(path, interval="1d")
    assert refusal.value.line == lines[0]


@_relaxed
@given(st.data())
def test_skipped_rows_and_kept_rows_add_up_to_the_file(tmp_path: Path, data: st.DataObject) -> None:
    days = sorted(data.draw(st.sets(st.sampled_from(_SESSIONS), min_size=6, max_size=20)))
    bad = data.draw(st.sets(st.integers(0, len(days) - 1), max_size=len(days) // 2))
    spoil = data.draw(st.sampled_from(["x", "", "-1", "nan", "9,9", "1e999"]))
    rows = [line(day, n).rsplit(",", 1)[0] + f",{spoil}" if n in bad else line(day, n) for n, day in enumerate(days)]
    path = write(tmp_path / "KO.csv", "\n".join([HEADER, *rows]))
    parsed = read_file(path, interval="1d", bad_rows="skip")
    kept = [n for n in range(len(days)) if n not in bad]
    assert parsed.frame["volume"].tolist() == [10.0 + n for n in kept]
    assert [row.line for row in parsed.rejected] == sorted(n + 2 for n in bad)
    assert parsed.rows_read == len(days)


@_relaxed
@given(st.sets(st.sampled_from(_SESSIONS), min_size=2, max_size=60))
def test_text_and_parquet_say_the_same(tmp_path: Path, chosen: set[str]) -> None:
    days = sorted(chosen)
    rows = [line(day, n) for n, day in enumerate(days)]
    text = read_file(write(tmp_path / "KO.csv.gz", "\n".join([HEADER, *rows])), interval="1d")
    table = frame_of("KO", [utc(day) for day in days]).drop(columns="symbol").rename(columns={"ts": "date"})
    table["date"] = pd.DatetimeIndex(days)
    table.to_parquet(tmp_path / "KO.parquet")
    assert_frame_equal(read_file(tmp_path / "KO.parquet", interval="1d").frame, text.frame)
    assert text.slots_missing == sum(days[0] <= day <= days[-1] for day in _SESSIONS) - len(days)
