"""Upbit's JSON as the desk's values. Raises KeyError, TypeError or ValueError where it is not what it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

from quant_pipeline.core.values import Account, Fill, OrderState, Position, Quote, Side, VenueOrder
from quant_pipeline.venues.json_values import Json, listing, mapping, number, text, when

CURRENCY = "KRW"
_SIDES = {"bid": Side.BUY, "ask": Side.SELL}
_FEE_GRID = Decimal(1).scaleb(-12)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def account(account_id: str, rows: list[Json]) -> Account:
    """Cash from the list of balances. Upbit's `balance` leaves out what open orders hold; `cash` includes it."""
    won = [row for row in rows if row["currency"] == CURRENCY]
    free = sum((number(row["balance"]) for row in won), Decimal(0))
    locked = sum((number(row["locked"]) for row in won), Decimal(0))
    return Account(account_id=account_id, currency=CURRENCY, cash=free + locked, locked=locked)


def positions(rows: list[Json]) -> tuple[Position, ...]:
    """Holdings from the list of balances, sorted by symbol; `qty` includes what open orders hold."""
    held = (_position(row) for row in rows if row["currency"] != CURRENCY)
    return tuple(sorted((one for one in held if one.qty != 0), key=lambda one: one.symbol))


def _position(row: Json) -> Position:
    locked = number(row["locked"])
    return Position(
        symbol=f"{text(row.get('unit_currency') or CURRENCY)}-{text(row['currency'])}",
        qty=number(row["balance"]) + locked,
        avg_price=number(row.get("avg_buy_price") or 0),
        locked=locked,
    )


def order(answer: Json) -> VenueOrder:
    """One order; its executions are in `trades`, which only the single-order answer has.

    An order placed by hand has no identifier of ours: its uuid stands in for `client_id`.
    """
    executed = number(answer["executed_volume"])
    paid_fee = number(answer.get("paid_fee") or 0)
    fills = _fills(listing(answer.get("trades") or []), paid_fee)
    known = sum((one.qty for one in fills), Decimal(0))
    value = sum((one.qty * one.price for one in fills), Decimal(0))
    submitted_at = when(answer["created_at"])
    return VenueOrder(
        client_id=text(answer.get("identifier") or answer["uuid"]),
        venue_id=text(answer["uuid"]),
        symbol=text(answer["market"]),
        side=_SIDES[text(answer["side"])],
        state=_state(answer, executed, all_known=known == executed),
        filled_qty=executed,
        avg_price=value / known if known > 0 and known == executed else _stated_price(answer, executed),
        fee=paid_fee,
        submitted_at=submitted_at,
        updated_at=max((one.at for one in fills), default=submitted_at),
        fills=fills,
        venue_status=text(answer["state"]),
    )


def _state(answer: Json, executed: Decimal, *, all_known: bool) -> OrderState:
    """Judge by what was executed, not by Upbit's word.

    A buy by amount that executed ends in `cancel` with a tiny unspent remainder: it is filled. Any other order that
    ends in `cancel` was cancelled, whole or in part. Terminal only when all executions are known: `protocols.Broker`.
    """
    finished = answer["state"] in ("done", "cancel")
    if not finished or not all_known:
        return OrderState.PARTIALLY_FILLED if executed > 0 else OrderState.ACCEPTED
    if executed == 0:
        return OrderState.CANCELED
    by_amount = answer["side"] == "bid" and answer["ord_type"] in ("price", "best")
    left = number(answer.get("remaining_volume") or 0)
    if answer["state"] == "done" or by_amount or left == 0:
        return OrderState.FILLED
    return OrderState.CANCELED


def _stated_price(answer: Json, executed: Decimal) -> Decimal | None:
    """The average price of an answer without trades, where Upbit states the funds."""
    funds = answer.get("executed_funds")
    if executed <= 0 or funds is None:
        return None
    return number(funds) / executed


def _fills(trades: list[Json], paid_fee: Decimal) -> tuple[Fill, ...]:
    """The executions, oldest first. Upbit states one fee per order: it is split by funds, the last takes the rest.

    The fee is a fixed rate of the funds, so a share does not change when later executions arrive.
    """
    ordered = sorted(trades, key=lambda one: (when(one["created_at"]), text(one["uuid"])))
    funds = [number(one["funds"]) for one in ordered]
    with localcontext() as context:
        context.prec = 40
        total = sum(funds, Decimal(0))
        fees = [(paid_fee * one / total).quantize(_FEE_GRID).normalize() for one in funds[:-1]]
        fees.append(paid_fee - sum(fees, Decimal(0)))
    return tuple(
        Fill(
            fill_id=text(one["uuid"]),
            qty=number(one["volume"]),
            price=number(one["price"]),
            fee=fee,
            at=when(one["created_at"]),
        )
        for one, fee in zip(ordered, fees[: len(ordered)], strict=True)
    )


def quote(ticker: Json, book: Json | None) -> Quote:
    """Last trade and best sides; `at` is the later of the last trade and the book."""
    at = from_millis(ticker.get("trade_timestamp") or ticker["timestamp"])
    bid = ask = None
    if book is not None:
        at = max(at, from_millis(book["timestamp"]))
        units = listing(book["orderbook_units"])
        if units:
            bid, ask = (_side(units[0].get(name)) for name in ("bid_price", "ask_price"))
    return Quote(symbol=text(ticker["market"]), price=number(ticker["trade_price"]), at=at, bid=bid, ask=ask)


def by_market(answer: object) -> dict[str, Json]:
    """A list of objects (or the one object that pyupbit took out of it) by their `market`."""
    rows = [mapping(answer)] if isinstance(answer, dict) else listing(answer)
    return {text(row["market"]): row for row in rows}


def from_millis(value: object) -> datetime:
    """A time from milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=float(number(value)))


def _side(price: object) -> Decimal | None:
    value = number(price or 0)
    return value if value > 0 else None


def amount_text(value: Decimal) -> str:
    """A decimal as Upbit wants it: plain digits, no exponent, no trailing zeros."""
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
