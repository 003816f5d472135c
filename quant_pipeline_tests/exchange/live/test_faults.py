"""A venue that is slow, down, refuses, sends what is no answer, or stands still: what is known stays, with its true time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import requests

from quant_pipeline.core.values import OrderRequest, OrderState, OrderType, Side
from quant_pipeline.markets.market import MARKETS
from quant_pipeline.venues.errors import VenueUnavailable
from quant_pipeline_tests.exchange.live.conftest import (
    MONDAY_10_AM_NEW_YORK,
    VENUE_KEY,
    VENUE_SECRET,
    at,
    dry_run_of,
)
from quant_pipeline_tests.exchange.live.fragile import Fragile, fragile
from quant_pipeline_tests.venues.canned_server import (
    Answer,
    Misbehaviour,
    Reaction,
    as_json,
    html,
)
from quant_pipeline_tests.venues.makers import ONCE, VENUES, broker, buy, market_data, symbol

OWN_KEYS = {"APCA-API-KEY-ID": "SIM-ALPACA-KEY", "APCA-API-SECRET-KEY": "SIM-ALPACA-SECRET"}
FAULTS: dict[str, Reaction] = {
    "no answer (RemoteProtocolError)": Misbehaviour.DROP,
    "no answer within 1 s": Misbehaviour.HANG,
    "answered 500": as_json({"message": "internal"}, 500),
    "answered 502": html(502),
    "answered 302": Answer(302, headers={"Location": "http://127.0.0.1:9/"}),
    "answered 200 with text/html, which is no JSON": html(200),
    "too many requests (429)": as_json({"message": "too many requests."}, 429),
    "too many requests (418)": as_json({"error": {"name": 418, "message": "blocked"}}, 418),
    "the keys are refused (401)": as_json({"message": "no"}, 401),
    "the keys are refused (403)": as_json({"message": "forbidden."}, 403),
    "unreadable answer": as_json("gibberish"),
}


@pytest.fixture(scope="module")
def _shared() -> Iterator[Fragile]:
    with fragile() as found:
        yield found


@pytest.fixture
def dry_run(_shared: Fragile) -> Iterator[Fragile]:
    """Its line whole, its prices up to date; later by some minutes in each test."""
    _shared.line.fault = None
    now = _shared.desk.admin.clock() + timedelta(minutes=7)
    if now.hour >= 19:  # the session ends soon: on to the next one
        now = now.replace(hour=15, minute=0) + timedelta(days=3 if now.weekday() == 4 else 1)
    _shared.move(now.strftime("%Y-%m-%d %H:%M:%S"))
    yield _shared
    _shared.line.fault = None


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("problem", FAULTS)
def test_what_is_known_stays_with_its_time_and_the_state_says_what_is_wrong_until_it_is_over(
    dry_run: Fragile, venue: str, problem: str
) -> None:
    market = next(one.name for one in MARKETS if one.venue == venue)
    told_at = dry_run.desk.admin.clock()
    listed, since = [symbol(venue)], told_at - timedelta(minutes=5)
    with market_data(venue, dry_run.url(venue), retries=ONCE) as data:
        quotes, bars = data.quotes(listed), data.bars(listed, "1m", since, told_at + timedelta(minutes=9))
        assert len(bars) > 3

        dry_run.line.fault = FAULTS[problem]
        state = dry_run.move((told_at + timedelta(minutes=4)).strftime("%Y-%m-%d %H:%M:%S"))[market]
        assert state["problem"].startswith(problem)
        assert (state["since"], state["answered_at"]) == (
            (told_at + timedelta(minutes=4)).isoformat(),
            told_at.isoformat(),
        )
        assert data.quotes(listed) == quotes
        assert quotes[symbol(venue)].at == told_at
        assert data.bars(listed, "1m", since, told_at + timedelta(minutes=9)).equals(bars)

        dry_run.line.fault = None
        assert dry_run.desk.admin.poll()[market]["problem"] is None
        later = data.quotes(listed)[symbol(venue)]
        assert later.at == told_at + timedelta(minutes=4)


@pytest.mark.parametrize("venue", VENUES)
def test_a_hole_is_never_passed_off_as_an_answer(dry_run: Fragile, venue: str) -> None:
    """A session that is over and was not told to its end would be kept as complete by who collects it."""
    now = dry_run.desk.admin.clock()
    with market_data(venue, dry_run.url(venue), retries=ONCE) as data:
        dry_run.line.fault = Misbehaviour.DROP
        dry_run.desk.admin.poll()
        with pytest.raises(VenueUnavailable, match="503"):
            data.bars([symbol(venue)], "1m", now - timedelta(days=9), now - timedelta(days=8))
        dry_run.move((now + timedelta(minutes=30)).strftime("%Y-%m-%d %H:%M:%S"))
        with pytest.raises(VenueUnavailable, match="503"):
            data.bars([symbol(venue)], "1m", now - timedelta(minutes=5), now + timedelta(minutes=20))


@pytest.mark.parametrize("venue", VENUES)
def test_an_order_given_while_the_venue_is_down_fills_at_the_prices_of_then_once_they_are_told(
    dry_run: Fragile, venue: str
) -> None:
    now = dry_run.desk.admin.clock()
    request = buy(venue, f"down-{venue}")
    dry_run.line.fault = Misbehaviour.DROP
    with broker(venue, dry_run.url(venue)) as desk:
        desk.submit(request)
        dry_run.move((now + timedelta(minutes=10)).strftime("%Y-%m-%d %H:%M:%S"))
        waiting = desk.find(request.client_id, request.symbol)
        assert waiting is not None
        assert waiting.state is OrderState.ACCEPTED
        dry_run.line.fault = None
        dry_run.desk.admin.poll()
        filled = desk.find(request.client_id, request.symbol)
        assert filled is not None
        assert filled.state is OrderState.FILLED
        assert now <= filled.fills[0].at <= now + timedelta(minutes=3)


def test_a_venue_whose_quotes_stand_still_is_told_as_stale(dry_run: Fragile) -> None:
    now = dry_run.desk.admin.clock()
    dry_run.desk.admin.set_clock(now + timedelta(minutes=6))
    state = dry_run.desk.admin.poll()
    assert {row["problem"] for row in state.values()} == {f"stale: the newest quote is 360 s old ({now.isoformat()})"}
    for venue in VENUES:
        with market_data(venue, dry_run.url(venue)) as data:
            assert data.quotes([symbol(venue)])[symbol(venue)].at == now
    dry_run.move((now + timedelta(minutes=6)).strftime("%Y-%m-%d %H:%M:%S"))


@pytest.mark.parametrize("venue", VENUES)
def test_prices_that_are_none_are_not_taken_over(dry_run: Fragile, venue: str) -> None:
    server, before = dry_run.lines[venue], dry_run.desk.admin.clock()
    with market_data(venue, dry_run.url(venue), retries=ONCE) as data:
        quotes = data.quotes([symbol(venue)])
        for price in (None, 0, -1, "12", True):
            dry_run.line.fault = as_json(_nonsense(venue, price, before.isoformat()))
            state = dry_run.desk.admin.poll()
            assert any("unreadable answer" in str(row["problem"]) for row in state.values())
            assert data.quotes([symbol(venue)]) == quotes
    assert server.seen


def _nonsense(venue: str, price: object, t: str) -> object:
    side = price if price != 0 else -1  # an empty side is written as 0
    if venue == "alpaca":
        row = {"t": t, "p": price, "bp": side, "ap": side}
        return {"trades": {"AAPL": row}, "quotes": {"AAPL": row}}
    unit = {"bid_price": side, "ask_price": side}
    at = int(datetime.fromisoformat(t).timestamp() * 1000)
    return [
        {"market": "KRW-BTC", "timestamp": at, "trade_timestamp": at, "trade_price": price, "orderbook_units": [unit]}
    ]


def test_nothing_is_known_before_the_venue_was_reached_and_the_desk_is_told_so() -> None:
    nowhere = {"alpaca": "http://127.0.0.1:9", "upbit": "http://127.0.0.1:9"}
    with dry_run_of(nowhere, MONDAY_10_AM_NEW_YORK) as desk:
        state = desk.admin.poll()
        assert {row["problem"] for row in state.values()} == {"no answer (ConnectError)"}
        for venue, url in (("alpaca", desk.alpaca_url), ("upbit", desk.upbit_url)):
            with market_data(venue, url, retries=ONCE) as data, pytest.raises(VenueUnavailable, match="503"):
                data.quotes([symbol(venue)])
            with broker(venue, url) as client, pytest.raises(Exception, match=r"no price yet|market_offline"):
                client.submit(buy(venue))
        assert desk.admin.fills() == []


def test_it_comes_back_by_itself() -> None:
    with fragile(live_poll_seconds=1) as dry_run:
        dry_run.line.fault = as_json({"message": "internal"}, 500)
        dry_run.desk.admin.poll()
        assert {row["problem"] for row in dry_run.desk.admin.live().values()} == {"answered 500"}
        dry_run.line.fault = None
        while True:
            assert dry_run.line.heard.acquire(timeout=20), "the venue is not asked any more"
            if not any(row["problem"] for row in dry_run.desk.admin.live().values()):
                return


def test_the_keys_go_to_the_venue_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with fragile() as dry_run:
        told: list[str] = []
        for fault in (None, *FAULTS.values(), as_json({"message": f"bad key {VENUE_KEY} {VENUE_SECRET}"}, 401)):
            dry_run.line.fault = fault
            told.append(json.dumps(dry_run.desk.admin.poll()))
            for path in ("/v2/stocks/quotes/latest?symbols=AAPL", "/v2/stocks/AAPL/bars?timeframe=1Day", "/v2/account"):
                answer = requests.get(dry_run.desk.alpaca_url + path, headers=OWN_KEYS, timeout=10)
                told.append(answer.text + str(answer.headers))
        told += [json.dumps(dry_run.desk.admin.requests()), caplog.text]
        seen = dry_run.lines["alpaca"].seen
        assert {one.headers["apca-api-key-id"] for one in seen} == {VENUE_KEY}
        assert not [
            one for one in dry_run.lines["upbit"].seen if VENUE_KEY in str(one) or "authorization" in one.headers
        ]
    assert not [text for text in told if VENUE_KEY in text or VENUE_SECRET in text]
    assert not [one for one in seen if "SIM-ALPACA" in str(one)]


def test_after_a_long_outage_every_minute_since_an_order_is_known_over_several_pages() -> None:
    now, later = at("15:00"), at("15:00") + timedelta(hours=15)
    rests = OrderRequest(
        "rests", "KRW-BTC", Side.BUY, order_type=OrderType.LIMIT, qty=Decimal(1), limit_price=Decimal(1_000_000)
    )
    with fragile() as dry_run, broker("upbit", dry_run.url("upbit")) as desk:
        dry_run.line.fault = Misbehaviour.DROP
        for request in (rests, buy("upbit", "fills")):
            desk.submit(request)
        dry_run.desk.admin.poll()
        dry_run.line.fault = None
        dry_run.move(later.strftime("%Y-%m-%d %H:%M:%S"))
        filled = desk.find("fills", "KRW-BTC")
        assert filled is not None
        assert filled.state is OrderState.FILLED
        assert filled.fills[0].at <= now + timedelta(minutes=3)
        with market_data("upbit", dry_run.url("upbit"), retries=ONCE) as data:
            dry_run.line.fault = Misbehaviour.DROP
            known = data.bars(["KRW-BTC"], "1m", now, later)
            dry_run.line.fault = None
            dry_run.desk.admin.poll()
            told = data.bars(["KRW-BTC"], "1m", now, later)
        assert known.equals(told)
        assert len(told) > 800
