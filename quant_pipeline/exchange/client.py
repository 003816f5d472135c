"""A small client of the admin API, for tests, the demo and people at a prompt. It trades nothing."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import requests

_TIMEOUT = 30.0


class AdminError(RuntimeError):
    """The exchange refused an admin request; the text is its own sentence."""


class AdminClient:
    """Steers and reads a running exchange. One per thread."""

    def __init__(self, url: str) -> None:
        """Talk to the exchange at `url` (either dialect's address, without a path)."""
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business on loopback

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def clock(self) -> datetime:
        """The exchange's time (UTC)."""
        return datetime.fromisoformat(self._call("GET", "clock")["now"])

    def set_clock(self, at: datetime) -> datetime:
        """Move the clock to `at`; orders that are due are filled before this returns.

        Raises:
            AdminError: the clock follows the wall, or `at` is in its past.
        """
        return datetime.fromisoformat(self._call("POST", "clock", body={"set": at.isoformat()})["now"])

    def advance(self, seconds: float) -> datetime:
        """Move the clock ahead.

        Raises:
            AdminError: the clock follows the wall, or `seconds` is negative.
        """
        return datetime.fromisoformat(self._call("POST", "clock", body={"advance_seconds": seconds})["now"])

    def requests(
        self, *, method: str | None = None, path: str | None = None, dialect: str | None = None, after: int = 0
    ) -> list[dict[str, Any]]:
        """The request log, oldest first, with these values and a sequence number above `after`."""
        wanted = {"method": method, "path": path, "dialect": dialect, "after": str(after)}
        found: list[dict[str, Any]] = self._call("GET", "requests", wanted)
        return found

    def orders(self, market: str | None = None) -> list[dict[str, Any]]:
        """All orders in the neutral form."""
        found: list[dict[str, Any]] = self._call("GET", "orders", {"market": market})
        return found

    def fills(self, market: str | None = None) -> list[dict[str, Any]]:
        """All executions in the neutral form, by time within each market."""
        found: list[dict[str, Any]] = self._call("GET", "fills", {"market": market})
        return found

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Cash, locks, fees, equity and holdings, by market name."""
        return {row["market"]: row for row in self._call("GET", "accounts")}

    def live(self) -> dict[str, dict[str, Any]]:
        """How the markets of a dry run are, by market name: `problem` is None while all is well."""
        return {row["market"]: row for row in self._call("GET", "live")}

    def poll(self) -> dict[str, dict[str, Any]]:
        """Bring the markets of a dry run up to date now; how they are then."""
        return {row["market"]: row for row in self._call("POST", "live")}

    def split(self, symbol: str, ex_date: date, ratio: str, *, hidden_until: date | None = None) -> None:
        """Let a stock split `ratio` ("4", "3/2") for 1 at the open of `ex_date`; not listed before `hidden_until`.

        Raises:
            AdminError: the stock is not listed, or the day is no session to come.
        """
        body: dict[str, object] = {"symbol": symbol, "ex_date": ex_date.isoformat(), "ratio": ratio}
        if hidden_until is not None:
            body["hidden_until"] = hidden_until.isoformat()
        self._call("POST", "actions", body=body)

    def dividend(self, symbol: str, ex_date: date, amount: str) -> None:
        """Let a stock pay `amount` a share: its price falls by it at the open of `ex_date`. Accounts get nothing.

        Raises:
            AdminError: as for `split`.
        """
        self._call("POST", "actions", body={"symbol": symbol, "ex_date": ex_date.isoformat(), "amount": amount})

    def actions(self) -> list[dict[str, str]]:
        """The splits and dividends of the exchange by time."""
        found: list[dict[str, str]] = self._call("GET", "actions")
        return found

    def withdraw_bar(self, market: str, symbol: str, interval: str, starts: datetime) -> None:
        """Let the venue take back a bar that it showed: data answers lack it from now on, orders keep their prices.

        Raises:
            AdminError: there is no such bar.
        """
        body: dict[str, object] = {"market": market, "symbol": symbol, "interval": interval}
        self._call("POST", "withdrawn", body={**body, "starts": starts.isoformat()})

    def withdrawn(self) -> list[dict[str, str]]:
        """The bars that were taken back, in that order."""
        found: list[dict[str, str]] = self._call("GET", "withdrawn")
        return found

    def reset(self) -> None:
        """Empty accounts, orders and the request log; the clock stays."""
        self._call("POST", "reset")

    def _call(
        self, method: str, what: str, params: dict[str, str | None] | None = None, body: dict[str, object] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        url = f"{self._url}/admin/{what}"
        answer = self._session.request(method, url, params=params, json=body, timeout=_TIMEOUT)
        content = answer.json()
        if answer.status_code != 200:
            raise AdminError(content["error"])
        return content
