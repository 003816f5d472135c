"""Splits and dividends of US stocks from Alpaca's corporate actions. What they do to prices belongs to core."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import requests

from quant_pipeline.venues.alpaca.clients import BUDGETS, WINDOW, AlpacaAccess, actions_client, close_client
from quant_pipeline.venues.alpaca.errors import read_error
from quant_pipeline.venues.errors import VenueUnavailable, cause_text
from quant_pipeline.venues.json_values import Json, listing, mapping, number, text
from quant_pipeline.venues.limits import InProcessLimiter, RateLimiter, ReadRetries
from quant_pipeline.venues.per_thread import PerThread
from quant_pipeline.venues.protocols import AnnouncedAction
from quant_pipeline.venues.transport import DEFAULT_TIMEOUT, Timeout

if TYPE_CHECKING:
    from alpaca.data.requests import CorporateActionsRequest

PROCESSED_WITHIN = timedelta(days=90)
"""Alpaca looks for actions by the day on which it processes them: a split's ex-date, a dividend's later payment."""
_SPLITS = ("forward_splits", "reverse_splits")
_STOCK_DIVIDENDS, _CASH = "stock_dividends", "cash_dividends"


class AlpacaCorporateActions:
    """`venues.protocols.CorporateActionData` over Alpaca's market data.

    Splits and stock dividends are splits, cash dividends of one day are added up. Mergers, spin-offs and renamed
    shares are not asked for: a price that they move is told by the checks of bars.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        secret: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        limiter: RateLimiter | None = None,
        retries: ReadRetries | None = None,
    ) -> None:
        """Check everything; nothing is connected yet. Arguments are those of `AlpacaMarketData`.

        Raises:
            ValueError: an argument cannot be right.
        """
        access = AlpacaAccess(base_url, key, secret, timeout)
        limiter = limiter or InProcessLimiter(BUDGETS, max_wait=2 * WINDOW)
        retries = retries or ReadRetries()
        self._client = PerThread(lambda: actions_client(access, limiter, retries), close_client)

    def actions(self, symbols: Sequence[str], start: date, end: date) -> tuple[AnnouncedAction, ...]:
        """See `CorporateActionData.actions`. A symbol that Alpaca does not know has none."""
        from alpaca.common.exceptions import APIError

        if not symbols or start > end:
            return ()
        asked = f"corporate actions of {', '.join(symbols)} from {start} to {end}"
        request = _request(symbols, start, end)
        try:
            answer = mapping(self._client.get().get_corporate_actions(request))
            found = _merged(read_actions(answer))
        except APIError as error:
            raise read_error(error, asked) from error
        except requests.RequestException as error:
            msg = f"{asked}: no answer from Alpaca: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        wanted = set(symbols)
        return tuple(one for one in found if one.symbol in wanted and start <= one.ex_date <= end)

    def close(self) -> None:
        """See `CorporateActionData.close`."""
        self._client.close()


def _request(symbols: Sequence[str], start: date, end: date) -> CorporateActionsRequest:
    from alpaca.data.enums import CorporateActionsType
    from alpaca.data.requests import CorporateActionsRequest

    kinds = CorporateActionsType
    return CorporateActionsRequest(
        symbols=list(symbols),
        types=[kinds.FORWARD_SPLIT, kinds.REVERSE_SPLIT, kinds.STOCK_DIVIDEND, kinds.CASH_DIVIDEND],
        start=start,
        end=end + PROCESSED_WITHIN,
        limit=None,  # a limit would count over all pages and cut the rest off
    )


def read_actions(answer: Json) -> list[AnnouncedAction]:
    """The actions of an answer by kind of action, one for each row.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: it is not what it should be.
    """
    splits = [row for name in _SPLITS for row in listing(answer.get(name) or [])]
    found = [_split(row, number(row["new_rate"]) / number(row["old_rate"])) for row in splits]
    found.extend(_split(row, 1 + number(row["rate"])) for row in listing(answer.get(_STOCK_DIVIDENDS) or []))
    for row in listing(answer.get(_CASH) or []):
        amount = number(row["rate"])
        found.append(AnnouncedAction(text(row["symbol"]), _day(row), "dividend", amount=amount, currency="USD"))
    return found


def _split(row: Json, ratio: Decimal) -> AnnouncedAction:
    if ratio <= 0:
        msg = f"a split of {row['symbol']} has the ratio {ratio}"
        raise ValueError(msg)
    return AnnouncedAction(text(row["symbol"]), _day(row), "split", ratio=ratio)


def _day(row: Json) -> date:
    return date.fromisoformat(text(row["ex_date"]))


def _merged(rows: Sequence[AnnouncedAction]) -> list[AnnouncedAction]:
    """One action for each symbol, day and kind: cash adds up, ratios multiply."""
    found: dict[tuple[str, date, str], AnnouncedAction] = {}
    for row in rows:
        key = (row.symbol, row.ex_date, row.kind)
        known = found.get(key)
        if known is None:
            found[key] = row
        elif row.kind == "split":
            ratio = (known.ratio or Decimal(1)) * (row.ratio or Decimal(1))
            found[key] = AnnouncedAction(*key[:2], "split", ratio=ratio)
        else:
            amount = (known.amount or Decimal(0)) + (row.amount or Decimal(0))
            found[key] = AnnouncedAction(*key[:2], "dividend", amount=amount, currency=row.currency)
    return [found[key] for key in sorted(found)]
