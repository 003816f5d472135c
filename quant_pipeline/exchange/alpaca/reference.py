"""Alpaca's reference endpoints: clock, calendar, assets. Nothing here depends on the account."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from quant_pipeline.exchange.alpaca import words
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.markets.calendar import NEW_YORK, next_session, session_at, session_hours, sessions
from quant_pipeline.markets.market import US_EQUITY

_CALENDAR = US_EQUITY.calendar
_FIRST, _LAST = "1998-01-02", "2028-12-15"


def reference_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints that describe the market."""
    api = ReferenceApi(exchange)
    return tuple(
        route("GET", path, endpoint, "trading")
        for path, endpoint in (
            ("/v2/clock", api.clock),
            ("/v2/calendar", api.calendar),
            ("/v2/assets", api.assets),
            ("/v2/assets/{symbol}", api.asset),
        )
    )


class ReferenceApi:
    """One method per endpoint."""

    def __init__(self, exchange: Exchange) -> None:
        """Describe the stock market of `exchange`."""
        self._exchange = exchange

    @property
    def _listed(self) -> frozenset[str]:
        return self._exchange.us.feed.listed

    def clock(self, _request: Request, _names: dict[str, str]) -> Reply:
        """The venue's time and the next opening and closing, in New York time."""
        now = self._exchange.now()
        session = session_at(_CALENDAR, now)
        hours = session_hours(_CALENDAR, session)
        opened = hours.opens_at <= now
        following = session_hours(_CALENDAR, next_session(_CALENDAR, session)) if opened else hours
        content = {
            "timestamp": _new_york(now),
            "is_open": opened,
            "next_open": _new_york(following.opens_at),
            "next_close": _new_york(hours.closes_at),
        }
        return json_reply(200, content)

    def calendar(self, request: Request, _names: dict[str, str]) -> Reply:
        """Sessions from `start` to `end`, both inclusive."""
        try:
            start = date.fromisoformat((request.value("start") or _FIRST)[:10])
            end = date.fromisoformat((request.value("end") or _LAST)[:10])
            days = sessions(_CALENDAR, start, end) if start <= end else ()
        except ValueError as wrong:
            return words.error(422, 40010001, str(wrong))
        return json_reply(200, [_calendar_day(day) for day in days])

    def assets(self, request: Request, _names: dict[str, str]) -> Reply:
        """All listed shares."""
        only = request.value("status") in (None, "", "active") and request.value("asset_class") in (
            None,
            "",
            "us_equity",
        )
        return json_reply(200, [words.asset(symbol) for symbol in sorted(self._listed)] if only else [])

    def asset(self, _request: Request, names: dict[str, str]) -> Reply:
        """One listed share, by symbol or id."""
        symbol = words.symbol_of(names["symbol"], self._listed)
        if symbol not in self._listed:
            return words.error(404, 40410000, f"asset not found for {names['symbol']}")
        return json_reply(200, words.asset(symbol))


def _new_york(at: datetime) -> str:
    return at.astimezone(NEW_YORK).isoformat()


def _calendar_day(day: date) -> dict[str, str]:
    hours = session_hours(_CALENDAR, day)
    closes = hours.closes_at.astimezone(NEW_YORK)
    return {
        "date": day.isoformat(),
        "open": hours.opens_at.astimezone(NEW_YORK).strftime("%H:%M"),
        "close": closes.strftime("%H:%M"),
        "session_open": "0400",
        "session_close": (closes + timedelta(hours=4)).strftime("%H%M"),
        "settlement_date": _settles(day).isoformat(),
    }


def _settles(day: date) -> date:
    """The next session; past the end of the known calendar the next weekday."""
    try:
        return next_session(_CALENDAR, day)
    except ValueError:
        return day + timedelta(days=3 if day.weekday() == 4 else 1)
