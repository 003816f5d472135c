"""Splits and dividends as the client reads them: from the simulated exchange, and from written answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qs

import pytest

from quant_pipeline.exchange.actions import ScriptedAction
from quant_pipeline.venues.alpaca.corporate_actions import AlpacaCorporateActions
from quant_pipeline.venues.errors import AuthenticationFailed, VenueUnavailable
from quant_pipeline.venues.protocols import AnnouncedAction
from quant_pipeline_tests.exchange.conftest import MONDAY_OPEN
from quant_pipeline_tests.exchange.makers import exchange_at
from quant_pipeline_tests.venues.canned_server import Answer, Reaction, Seen, as_json, canned, html
from quant_pipeline_tests.venues.makers import ALPACA_KEY, ALPACA_SECRET, NO_WAIT, PATIENT

MARCH = (date(2025, 3, 1), date(2025, 3, 31))
DATES = {"process_date": "2025-03-04", "ex_date": "2025-03-04"}


@contextmanager
def client(url: str, *, key: str = ALPACA_KEY) -> Iterator[AlpacaCorporateActions]:
    made = AlpacaCorporateActions(base_url=url, key=key, secret=ALPACA_SECRET, timeout=PATIENT, retries=NO_WAIT)
    with closing(made):
        yield made


def page(token: str | None = None, **rows: list[dict[str, Any]]) -> Answer:
    return as_json({"corporate_actions": rows, "next_page_token": token})


def test_actions_of_the_exchange_come_back_with_exact_ratios_by_symbol_and_day() -> None:
    actions = (
        ScriptedAction("MSFT", date(2025, 3, 5), amount=Decimal("0.83")),
        ScriptedAction("AAPL", date(2025, 3, 4), ratio=Fraction(3, 2)),
        ScriptedAction("KO", date(2025, 3, 6), ratio=Fraction(1, 3)),
        ScriptedAction("KO", date(2025, 4, 2), ratio=Fraction(2)),
    )
    with exchange_at(MONDAY_OPEN, actions=actions) as handle, client(handle.alpaca_url) as source:
        assert source.actions(["AAPL", "KO", "MSFT"], *MARCH) == (
            AnnouncedAction("AAPL", date(2025, 3, 4), "split", ratio=Decimal("1.5")),
            AnnouncedAction("KO", date(2025, 3, 6), "split", ratio=Decimal(1) / 3),
            AnnouncedAction("MSFT", date(2025, 3, 5), "dividend", amount=Decimal("0.83"), currency="USD"),
        )
        assert source.actions(["JPM"], *MARCH) == ()
        asked = len(handle.admin.requests(path="/v1/corporate-actions"))
        assert source.actions([], *MARCH) == source.actions(["AAPL"], MARCH[1], MARCH[0]) == ()
        assert len(handle.admin.requests(path="/v1/corporate-actions")) == asked
        with client(handle.alpaca_url, key="WRONG") as stranger, pytest.raises(AuthenticationFailed):
            stranger.actions(["AAPL"], *MARCH)


def test_all_pages_are_read_and_dividends_that_are_paid_later_are_found() -> None:
    def script(seen: Seen) -> Reaction:
        asked = parse_qs(seen.query)
        assert asked["types"] == ["forward_split,reverse_split,stock_dividend,cash_dividend"]
        assert (asked["start"], asked["symbols"]) == (["2025-03-01"], ["AAPL,KO"])
        assert date.fromisoformat(asked["end"][0]) >= date(2025, 5, 30)
        if "page_token" not in asked:
            return page("more", forward_splits=[{"symbol": "AAPL", "new_rate": 4, "old_rate": 1, **DATES}])
        paid = {"symbol": "KO", "rate": 0.5, "ex_date": "2025-03-14", "process_date": "2025-04-01"}
        late = paid | {"ex_date": "2025-04-14", "process_date": "2025-05-01"}
        return page(cash_dividends=[paid, late])

    with canned(script) as server, client(server.url) as source:
        found = source.actions(["AAPL", "KO"], *MARCH)
    assert [(a.symbol, a.ex_date, a.ratio or a.amount) for a in found] == [
        ("AAPL", date(2025, 3, 4), 4),
        ("KO", date(2025, 3, 14), Decimal("0.5")),
    ]


def test_dividends_of_one_day_add_up_and_splits_multiply() -> None:
    rows = {
        "cash_dividends": [{"symbol": "AAPL", "rate": 0.25, **DATES}, {"symbol": "AAPL", "rate": 1.5, **DATES}],
        "forward_splits": [{"symbol": "AAPL", "new_rate": 2, "old_rate": 1, **DATES}],
        "stock_dividends": [{"symbol": "AAPL", "rate": 0.05, **DATES}],
        "name_changes": [{"old_symbol": "X", "new_symbol": "Y", "process_date": "2025-03-04"}],
    }
    with canned(lambda _: page(**rows)) as server, client(server.url) as source:
        dividend, split = source.actions(["AAPL"], *MARCH)
    assert (dividend.kind, dividend.amount) == ("dividend", Decimal("1.75"))
    assert (split.kind, split.ratio) == ("split", Decimal("2.10"))


@pytest.mark.parametrize(
    "answer",
    [
        html(502),
        as_json({"next_page_token": None}),
        as_json([]),
        page(forward_splits=[{"symbol": "AAPL", "new_rate": 4, "old_rate": 0, **DATES}]),
        page(forward_splits=[{"symbol": "AAPL", "new_rate": 0, "old_rate": 1, **DATES}]),
        page(forward_splits=[{"symbol": "AAPL", "new_rate": "many", "old_rate": 1, **DATES}]),
        page(cash_dividends=[{"symbol": "AAPL", "rate": 1, "ex_date": "soon"}]),
        page(cash_dividends=[{"symbol": "AAPL", "rate": 1}]),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_answer(answer: Answer) -> None:
    text = "corporate actions of AAPL from 2025-03-01 to 2025-03-31"
    with (
        canned(lambda _: answer) as server,
        client(server.url) as source,
        pytest.raises(VenueUnavailable, match=text),
    ):
        source.actions(["AAPL"], *MARCH)
