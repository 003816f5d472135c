"""Reads over a server that answers from a script: repetition, typed causes, paging, odd headers."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs

import pytest

from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    BadRequest,
    RateLimited,
    UnknownSymbol,
    VenueError,
    VenueUnavailable,
)
from quant_pipeline.venues.upbit.seam import Exchange, install
from quant_pipeline_tests.venues.canned_server import Answer, Misbehaviour, Reaction, Seen, as_json, canned, html
from quant_pipeline_tests.venues.makers import NO_WAIT, ONCE, PATIENT, QUICK, VENUES, broker, market_data, symbol

START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
GOOD = {"Remaining-Req": "group=candles; min=600; sec=9"}


def _candle(at: datetime) -> dict[str, object]:
    return {
        "market": "KRW-BTC",
        "candle_date_time_utc": at.strftime("%Y-%m-%dT%H:%M:%S"),
        "candle_date_time_kst": (at + timedelta(hours=9)).strftime("%Y-%m-%dT%H:%M:%S"),
        "opening_price": 100.0,
        "high_price": 103.0,
        "low_price": 99.0,
        "trade_price": 102.0,
        "timestamp": 1,
        "candle_acc_trade_price": 5.0,
        "candle_acc_trade_volume": float(at.timestamp()),
        "unit": 1,
    }


def _candle_server(missing: set[int], total: int) -> tuple[list[datetime], object]:
    """Minutes from START, some missing, served as Upbit does: newest first, `to` exclusive, UTC, at most 200."""
    existing = [START + timedelta(minutes=n) for n in range(total) if n not in missing]

    def script(seen: Seen) -> Reaction:
        terms = {name: values[0] for name, values in parse_qs(seen.query).items()}
        to = datetime.strptime(terms["to"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        before = [at for at in existing if at < to][::-1][: min(int(terms["count"]), 200)]
        return Answer(200, as_json([_candle(at) for at in before]).body, GOOD)

    return existing, script


@pytest.mark.parametrize(
    ("missing", "total"),
    [(set(), 1), (set(), 199), (set(), 200), (set(), 201), (set(), 1001), (set(range(150, 420)), 900), ({0, 899}, 900)],
)
def test_upbit_pages_join_without_gap_or_overlap(missing: set[int], total: int) -> None:
    existing, script = _candle_server(missing, total)
    with canned(script) as server, market_data("upbit", server.url) as client:
        frame = client.bars(["KRW-BTC"], "1m", START, START + timedelta(minutes=total))
    assert list(frame["ts"]) == existing
    assert list(frame["volume"]) == [at.timestamp() for at in existing]
    assert len(server.seen) <= len(existing) // 200 + 2


def test_upbit_bars_start_and_end_where_they_were_asked_to() -> None:
    _, script = _candle_server(set(), 600)
    start, end = START + timedelta(minutes=100), START + timedelta(minutes=400, seconds=0, microseconds=1)
    with canned(script) as server, market_data("upbit", server.url) as client:
        frame = client.bars(["KRW-BTC"], "1m", start, end)
    assert (frame["ts"].iloc[0], frame["ts"].iloc[-1], len(frame)) == (start, START + timedelta(minutes=400), 301)
    assert tuple(frame.columns) == BAR_COLUMNS
    assert str(frame["ts"].dtype) == "datetime64[ns, UTC]"


def test_a_server_that_ignores_to_does_not_make_us_loop() -> None:
    page = [_candle(START + timedelta(days=1)) for _ in range(200)]
    with (
        canned(lambda _: Answer(200, as_json(page).body, GOOD)) as server,
        market_data("upbit", server.url) as client,
        pytest.raises(VenueUnavailable, match="ignores `to`"),
    ):
        client.bars(["KRW-BTC"], "1m", START, START + timedelta(hours=12))
    assert len(server.seen) == 1


@pytest.mark.parametrize("header", [None, "", "candles=9", "group=CANDLES_2; sec=9"])
def test_an_odd_remaining_req_header_does_not_cost_the_answer(header: str | None) -> None:
    headers = {} if header is None else {"Remaining-Req": header}
    answer = Answer(200, as_json([_candle(START)]).body, headers)
    with canned(lambda _: answer) as server, market_data("upbit", server.url) as client:
        assert len(client.bars(["KRW-BTC"], "1m", START, START + timedelta(minutes=1))) == 1


@pytest.mark.parametrize("venue", VENUES)
def test_no_bars_give_an_empty_bar_frame_with_the_right_types(venue: str) -> None:
    empty = as_json({"bars": {}, "next_page_token": None} if venue == "alpaca" else [])
    with canned(lambda _: empty) as server, market_data(venue, server.url) as client:
        for frame in (
            client.bars([symbol(venue)], "1m", START, START + timedelta(minutes=5)),
            client.bars([], "1m", START, START + timedelta(minutes=5)),
            client.bars([symbol(venue)], "1m", START, START),
        ):
            assert tuple(frame.columns) == BAR_COLUMNS
            assert [str(kind) for kind in frame.dtypes] == ["object", "datetime64[ns, UTC]", *["float64"] * 5]
            assert len(frame) == 0
    assert len(server.seen) == 1


_BROKEN: dict[str, Reaction] = {
    "hang": Misbehaviour.HANG,
    "drop": Misbehaviour.DROP,
    "break off": Misbehaviour.BREAK_OFF,
    "not http": Misbehaviour.NOT_HTTP,
    "500": html(500),
    "502": html(502),
    "503": as_json({"message": "maintenance"}, 503),
    "200 html": html(200),
    "200 number": as_json(7),
    "200 other shape": as_json({"what": "ever"}),
    "302": Answer(302, "", {"Location": "/elsewhere"}),
    "404 html": html(404),
}


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", _BROKEN)
def test_a_broken_answer_to_a_read_is_unavailable_never_empty(venue: str, kind: str) -> None:
    timeout = QUICK if kind == "hang" else PATIENT
    with (
        canned(lambda _: _BROKEN[kind]) as server,
        market_data(venue, server.url, retries=ONCE, timeout=timeout) as data,
        broker(venue, server.url, retries=ONCE, timeout=timeout) as account,
    ):
        calls = [
            lambda: data.bars([symbol(venue)], "1m", START, START + timedelta(minutes=5)),
            lambda: data.quotes([symbol(venue)]),
            account.account,
            account.positions,
            account.open_orders,
            lambda: account.find("a", symbol(venue)),
        ]
        for call in calls[:1] if kind == "hang" else calls:
            with pytest.raises(VenueUnavailable):
                call()


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", ["drop", "break off", "500", "503"])
def test_a_read_is_repeated_when_that_can_help(venue: str, kind: str) -> None:
    bars = {"bars": {"AAPL": [{"t": "2026-03-02T00:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 5}]}}
    good = as_json({**bars, "next_page_token": None} if venue == "alpaca" else [_candle(START)])
    account = as_json(
        {"account_number": "1", "cash": "5", "currency": "USD"}
        if venue == "alpaca"
        else [{"currency": "KRW", "balance": "3", "locked": "2"}]
    )
    failed: set[str] = set()

    def script(seen: Seen) -> Reaction:
        if seen.path not in failed:
            failed.add(seen.path)
            return _BROKEN[kind]
        return account if "account" in seen.path else good

    with (
        canned(script) as server,
        market_data(venue, server.url, retries=NO_WAIT) as data,
        broker(venue, server.url, retries=NO_WAIT) as client,
    ):
        assert len(data.bars([symbol(venue)], "1m", START, START + timedelta(minutes=1))) == 1
        assert client.account().cash == 5
    assert len(server.seen) == 4


@pytest.mark.parametrize("venue", VENUES)
def test_a_cancel_is_not_repeated(venue: str) -> None:
    order = {
        "alpaca": {
            "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
            "client_order_id": "a",
            "created_at": "2026-03-02T15:00:00Z",
            "symbol": "AAPL",
            "side": "buy",
            "status": "new",
        },
        "upbit": {
            "uuid": "u",
            "side": "bid",
            "ord_type": "limit",
            "state": "wait",
            "market": "KRW-BTC",
            "created_at": "2026-03-02T15:00:00+09:00",
            "executed_volume": "0",
        },
    }[venue]
    with (
        canned(lambda seen: html(500) if seen.method == "DELETE" else as_json(order)) as server,
        broker(venue, server.url, retries=NO_WAIT) as client,
        pytest.raises(VenueUnavailable),
    ):
        client.cancel("a", symbol(venue))
    assert [one.method for one in server.seen].count("DELETE") == 1


@pytest.mark.parametrize(
    ("venue", "reaction", "expected"),
    [
        ("alpaca", as_json({"message": "forbidden."}, 403), AuthenticationFailed),
        ("alpaca", as_json({"code": 40110000, "message": "request is not authorized"}, 401), AuthenticationFailed),
        ("alpaca", as_json({"code": 42910000, "message": "rate limit exceeded"}, 429), RateLimited),
        ("alpaca", as_json({"message": "invalid symbol: ^X"}, 400), UnknownSymbol),
        ("alpaca", as_json({"message": "Invalid format for parameter start"}, 400), BadRequest),
        (
            "alpaca",
            as_json({"code": 42210000, "message": "subscription does not permit querying recent SIP data"}, 403),
            BadRequest,
        ),
        ("upbit", as_json({"error": {"name": 404, "message": "Code not found"}}, 404), UnknownSymbol),
        ("upbit", as_json({"error": {"name": 400, "message": "Type mismatch"}}, 400), BadRequest),
        ("upbit", as_json({"name": "too_many_requests"}, 429), RateLimited),
        ("upbit", Answer(429, "Too many API requests."), RateLimited),
        ("upbit", Answer(418, "blocked"), RateLimited),
        ("upbit", as_json({"error": {"name": "no_authorization_ip", "message": ""}}, 401), AuthenticationFailed),
    ],
)
def test_the_venues_own_words_about_bars_have_their_type(
    venue: str, reaction: Reaction, expected: type[VenueError]
) -> None:
    with (
        canned(lambda _: reaction) as server,
        market_data(venue, server.url, retries=ONCE) as client,
        pytest.raises(VenueError) as caught,
    ):
        client.bars([symbol(venue)], "1m", START, START + timedelta(minutes=5))
    assert type(caught.value) is expected


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("interval", ["2m", "day", "1D", "", "1w"])
def test_an_unknown_interval_is_refused_before_anything_is_asked(venue: str, interval: str) -> None:
    with (
        canned(lambda _: as_json([])) as server,
        market_data(venue, server.url) as client,
        pytest.raises(BadRequest, match="use one of 1m"),
    ):
        client.bars([symbol(venue)], interval, START, START + timedelta(days=1))
    assert server.seen == []


@pytest.mark.parametrize("venue", VENUES)
def test_naive_and_reversed_times_are_refused(venue: str) -> None:
    with canned(lambda _: as_json([])) as server, market_data(venue, server.url) as client:
        with pytest.raises(BadRequest, match="zone"):
            client.bars([symbol(venue)], "1m", datetime(2026, 3, 2), START)  # noqa: DTZ001
        with pytest.raises(BadRequest, match="before the start"):
            client.bars([symbol(venue)], "1m", START, START - timedelta(minutes=1))


def test_upbit_quotes_leave_out_what_the_exchange_does_not_know() -> None:
    def script(seen: Seen) -> Reaction:
        wanted = parse_qs(seen.query).get("markets", [])
        if seen.path == "/v1/market/all":
            return as_json([{"market": "KRW-BTC"}, {"market": "KRW-ETH"}])
        if "KRW-NONE" in wanted:
            return as_json({"error": {"name": 404, "message": "Code not found"}}, 404)
        if seen.path == "/v1/ticker":
            return as_json([{"market": m, "trade_price": 89435000.0, "trade_timestamp": 1772463600000} for m in wanted])
        unit = {"bid_price": 89430000.0, "ask_price": 0.0}
        return as_json([{"market": m, "timestamp": 1772463601500, "orderbook_units": [unit]} for m in wanted])

    with canned(script) as server, market_data("upbit", server.url) as client:
        quotes = client.quotes(["KRW-BTC", "KRW-NONE"])
        assert client.quotes(["KRW-NONE"]) == {}
        assert client.quotes([]) == {}
    assert set(quotes) == {"KRW-BTC"}
    quote = quotes["KRW-BTC"]
    assert (quote.price, quote.bid, quote.ask) == (Decimal("89435000.0"), Decimal("89430000.0"), None)
    assert quote.at == datetime(2026, 3, 2, 15, 0, 1, 500_000, tzinfo=UTC)


def test_two_threads_use_pyupbit_with_their_own_exchange_at_the_same_time() -> None:
    results: dict[str, list[int]] = {"a": [], "b": []}

    def run(name: str, url: str) -> None:
        with market_data("upbit", url) as client:
            for _ in range(10):
                frame = client.bars(["KRW-BTC"], "1m", START, START + timedelta(minutes=2))
                results[name].append(len(frame))

    one, two = [_candle(START)], [_candle(START + timedelta(minutes=1)), _candle(START)]
    with (
        canned(lambda _: Answer(200, as_json(one).body, GOOD)) as first,
        canned(lambda _: Answer(200, as_json(two).body, GOOD)) as second,
    ):
        threads = [threading.Thread(target=run, args=args) for args in (("a", first.url), ("b", second.url))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {"a": [1] * 10, "b": [2] * 10}


def test_pyupbit_may_not_place_orders_through_the_seam() -> None:
    import pyupbit
    import requests

    transport = install()
    upbit = pyupbit.Upbit("key", "s" * 40)
    with requests.Session() as session, transport.using(Exchange(session, "http://127.0.0.1:9", "x", "")):
        with pytest.raises(RuntimeError, match="upbit-sdk"):
            transport.post("https://api.upbit.com/v1/orders", headers={}, data="")
        assert upbit.buy_market_order("KRW-BTC", 5000) is None


def test_outside_of_the_seam_pyupbit_goes_where_it_always_went(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyupbit
    import requests

    install()
    asked: list[str] = []

    def refuse(url: str, **_: object) -> requests.Response:
        asked.append(url)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", refuse)
    assert pyupbit.get_ohlcv("KRW-BTC", count=1) is None
    assert asked == ["https://api.upbit.com/v1/candles/days"]
