"""Styles of times: recognised, read alike one by one and all at once, refused with a reason."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.importers.times import problem_with, read_times, style_of
from quant_pipeline.importers.values import TimeKind


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("2024-05-01", "auto", "iso_date"),
        ("2024-05-01 09:30", "auto", "iso_local"),
        ("2024-05-01T09:30:00.123456789", "auto", "iso_local"),
        ("2024-05-01 09:30:00+09:00", "auto", "iso_instant"),
        ("2024-05-01T09:30:00Z", "auto", "iso_instant"),
        ("1714521600", "auto", "epoch_s"),
        ("1714521600000", "auto", "epoch_ms"),
        ("05/01/2024", "us_date", "us_date"),
        ("20240501 09:30", "compact", "compact"),
    ],
)
def test_styles_are_recognised(text: str, kind: TimeKind, name: str) -> None:
    style = style_of(text, kind)
    assert style is not None
    assert style.name == name
    assert problem_with(text, style) is None
    assert style_of(style.example, kind) == style


@pytest.mark.parametrize(
    "text",
    [
        "",
        "05/01/2024",
        "1 May 2024",
        "20240501",
        "2024-5-1",
        "2024-05-01 24:00",
        "12:30",
        "\u0662\u0660\u0662\u0664-05-01",
    ],
)
def test_ambiguous_or_unknown_ways_to_write_a_time_are_not_guessed(text: str) -> None:
    assert style_of(text, "auto") is None


def test_milliseconds_of_the_day_need_a_day_and_end_with_it() -> None:
    style = style_of("34200000", "ms_of_day", date(2014, 6, 5))
    assert style is not None
    assert read_times(pd.Series(["34200000"]), style)[0] == np.datetime64("2014-06-05T09:30")
    assert problem_with("86400000", style) == "there is no such time"
    with pytest.raises(ValueError, match="86,400,000"):
        read_times(pd.Series(["86400000"]), style)
    assert style_of("34200000", "ms_of_day") is None


@given(
    st.datetimes(datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2199-12-31")),
    st.sampled_from(["", "Z", "+09:00", "-0500"]),
)
def test_one_by_one_and_all_at_once_read_the_same_instant(at: datetime, offset: str) -> None:
    text = at.isoformat() + offset
    style = style_of(text, "auto")
    assert style is not None
    one = style.read_one(text)
    naive = one if one.tzinfo is None else one.astimezone(UTC).replace(tzinfo=None)
    if problem_with(text, style) is None:
        assert read_times(pd.Series([text]), style)[0] == np.datetime64(naive)


@given(
    st.from_regex(
        r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?\Z"
    )
)
def test_what_is_judged_sound_can_be_read_and_what_is_not_cannot(text: str) -> None:
    style = style_of(text, "auto")
    if style is None:
        return
    if problem_with(text, style) is None:
        assert len(read_times(pd.Series([text]), style)) == 1
    else:
        with pytest.raises(ValueError, match=r"."):
            read_times(pd.Series([text]), style)
