"""Upbit's words: error bodies and the JSON of orders, trades, accounts. Nothing is decided here."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from quant_pipeline.core.values import Fill, OrderState, Side
from quant_pipeline.exchange.account import Account
from quant_pipeline.exchange.http import Reply, json_reply
from quant_pipeline.exchange.orders import Force, Kind, SimOrder
from quant_pipeline.exchange.words import SEOUL, plain, seoul

_ZERO = Decimal(0)
_STATE = {OrderState.FILLED: "done", OrderState.CANCELED: "cancel", OrderState.EXPIRED: "cancel"}

MESSAGES = {
    "validation_error": "잘못된 파라미터입니다.",
    "insufficient_funds_bid": "주문가능한 금액(KRW)이 부족합니다.",
    "insufficient_funds_ask": "주문가능한 금액({currency})이 부족합니다.",
    "under_min_total_bid": "최소주문금액 이상으로 주문해주세요",
    "under_min_total_ask": "최소주문금액 이상으로 주문해주세요",
    "over_krw_funds_bid": "최대주문금액 이하로 주문해주세요",
    "invalid_price_bid": "주문 가격 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
    "invalid_price_ask": "주문 가격 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
    "invalid_volume_bid": "주문 수량 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
    "invalid_volume_ask": "주문 수량 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
    "duplicated_identifier": "이미 사용된 identifier 입니다.",
    "market_offline": "현재 점검중인 마켓입니다.",
    "notfoundmarket": "마켓 정보를 찾을 수 없습니다.",
    "order_not_found": "주문을 찾지 못했습니다.",
    "invalid_query_payload": "Jwt의 query를 검증하는데 실패하였습니다.",
    "jwt_verification": "Jwt 토큰 검증에 실패했습니다.",
    "nonce_used": "이미 요청한 nonce값이 다시 사용되었습니다.",
    "no_authorization_token": "Please check Authorization Header",
    "invalid_access_key": "잘못된 엑세스 키입니다.",
    "too_many_requests": "Too many API requests.",
}


def error(status: int, name: str, message: str | None = None) -> Reply:
    """An error body of the exchange API."""
    return json_reply(status, {"error": {"message": message or MESSAGES[name], "name": name}})


def quotation_error(status: int, message: str) -> Reply:
    """An error body of the quotation API, whose name is a number."""
    return json_reply(status, {"error": {"name": status, "message": message}})


def state_word(order: SimOrder) -> str:
    """The word for the state of an order."""
    return _STATE.get(order.state, "wait")


def order_json(order: SimOrder, buy_fee: Decimal, *, trades: bool) -> dict[str, object]:
    """The JSON of an order; numbers are strings, times are Korean. `trades` adds its executions."""
    ticket = order.ticket
    bid = ticket.side is Side.BUY
    content: dict[str, object] = {
        "market": ticket.symbol,
        "uuid": order.venue_id,
        "side": "bid" if bid else "ask",
        "ord_type": ticket.wire["ord_type"],
        "state": state_word(order),
        "created_at": seoul(order.submitted_at),
        "remaining_volume": plain(order.remaining_qty or _ZERO),
        "executed_volume": plain(order.filled_qty),
        "executed_funds": plain(order.filled_funds),
        **_fee_words(order, buy_fee),
        "prevented_volume": "0",
        "prevented_locked": "0",
        "trades_count": len(order.fills),
    }
    if ticket.wire["named"]:
        content["identifier"] = ticket.client_id
    if ticket.qty is not None:
        content["volume"] = plain(ticket.qty)
    price = ticket.limit_price if ticket.kind is Kind.LIMIT else ticket.funds
    if price is not None:
        content["price"] = plain(price)
    if ticket.force is not Force.REST:
        content["time_in_force"] = ticket.force.value
    if trades:
        content["trades"] = [_trade_json(order, fill) for fill in order.fills]
    return content


def _fee_words(order: SimOrder, buy_fee: Decimal) -> dict[str, str]:
    """Reserved, remaining and paid fee, and what is locked: money for a bid, coins for an ask."""
    ticket = order.ticket
    if ticket.side is Side.SELL:
        return {
            "reserved_fee": "0",
            "remaining_fee": "0",
            "paid_fee": plain(order.fee),
            "locked": plain(order.reserved_qty),
        }
    total = (ticket.qty or _ZERO) * order.hold_price if ticket.funds is None else ticket.funds
    left = order.reserved * buy_fee / (1 + buy_fee)
    return {
        "reserved_fee": plain(total * buy_fee),
        "remaining_fee": plain(round(left, 12)),
        "paid_fee": plain(order.fee),
        "locked": plain(order.reserved),
    }


def _trade_json(order: SimOrder, fill: Fill) -> dict[str, object]:
    return {
        "market": order.ticket.symbol,
        "uuid": fill.fill_id,
        "price": plain(fill.price),
        "volume": plain(fill.qty),
        "funds": plain(fill.price * fill.qty),
        "trend": "up" if order.ticket.side is Side.BUY else "down",
        "created_at": fill.at.astimezone(SEOUL).isoformat(),
        "side": "bid" if order.ticket.side is Side.BUY else "ask",
    }


def balance_json(account: Account, currency: str) -> dict[str, object]:
    """One line of the account: what is free and what is locked in orders."""
    cash = currency == account.currency
    held = account.holding(f"{account.currency}-{currency}")
    return {
        "currency": currency,
        "balance": plain(account.available if cash else held.available),
        "locked": plain(account.locked if cash else held.locked),
        "avg_buy_price": "0" if cash else plain(round(held.avg_price, 8)),
        "avg_buy_price_modified": False,
        "unit_currency": account.currency,
    }


def order_stub(order: SimOrder) -> dict[str, str]:
    """How the answer to a batch names an order."""
    named = {"identifier": order.ticket.client_id} if order.ticket.wire["named"] else {}
    return {"uuid": order.venue_id, "market": order.ticket.symbol, **named}


def closed_at(order: SimOrder) -> datetime:
    """When an order ended, for the window of the closed list."""
    return order.updated_at
