"""Reading dates, months, times and markets from the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.cli.options import day_of, market_of, moment_of, month_of
from quant_pipeline.settings import load_settings


def test_a_day_a_month_and_a_moment_are_read() -> None:
    assert day_of("2026-03-02", "--from") == date(2026, 3, 2)
    assert month_of("2026-03", "--month") == month_of("2026-03-17", "--month") == date(2026, 3, 1)
    assert moment_of("2026-03-02T09:00:00+09:00", "--at") == datetime(2026, 3, 2, tzinfo=UTC)
    assert moment_of("2026-03-02T00:00:00Z", "--at").utcoffset() is not None


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01", "2026-02-30", "02/03/2026", "tomorrow"])
def test_what_is_no_day_is_refused_with_the_value_and_the_form(text: str) -> None:
    with pytest.raises(BadInputError, match="--from") as refused:
        day_of(text, "--from")
    assert repr(text) in str(refused.value)
    assert "YYYY-MM-DD" in str(refused.value)


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "March", "2026-03-02T00:00"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="YYYY-MM"):
        month_of(text, "--month")


@pytest.mark.parametrize(("text", "remedy"), [("now", "2026-03-02T15:30:00Z"), ("2026-03-02T09:00", "add Z for UTC")])
def test_a_time_needs_a_zone(text: str, remedy: str) -> None:
    with pytest.raises(BadInputError, match=remedy):
        moment_of(text, "--at")


def test_a_market_that_is_unknown_or_off_is_refused_with_those_that_are_on() -> None:
    settings = load_settings(environ={}, changes={"markets": {"krw_crypto": {"enabled": False}}})
    assert market_of(settings, "us_equity").name == "us_equity"
    for name in ("krw_crypto", "nyse"):
        with pytest.raises(BadInputError, match=rf"'{name}' is unknown or not enabled \(enabled: us_equity\)"):
            market_of(settings, name)
