"""The simulated book between two bars as a value, and its canonical bytes. How it changes is the kernel's business.

A state is keyed by symbol name and holds only symbols with a holding or an order, so that it does not change when a
symbol is added to the market.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quant_pipeline.core.values import Reason, Side

_FORMAT = "quant_pipeline/book-state/1"
_FLOATS = frozenset({"cash", "day_start_equity", "day_flows", "realised", "fees", "avg_price", "last_price"})
_FLOATS |= {"notional", "expected_return", "confidence", "vol20"}


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of a symbol: whole lots, average cost of one unit without fees, last price in quote currency.

    `profit_taken` says that a part was sold at a profit since the last entry.
    """

    symbol: str
    lots: int
    avg_price: float
    last_price: float
    profit_taken: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be held."""
        if not (self.lots > 0 and self.avg_price > 0.0 and self.last_price > 0.0):
            msg = f"holding of {self.symbol}: lots {self.lots}, average {self.avg_price} and last price "
            msg += f"{self.last_price} must all be above 0; leave out a symbol that is not held"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """An order that was decided and is not yet filled. `notional` is 0 for sales; `bars_left` counts down to 0.

    `lots` is 0 for an entry by amount. `decided_ns` is the close of the bar of its decision (UTC epoch ns).
    """

    symbol: str
    side: Side
    lots: int
    notional: float
    reason: Reason
    bars_left: int
    decided_ns: int


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """An exchange under way: `into` is bought once `out_of` is sold (None: it is), on this opinion of `into`."""

    into: str
    out_of: str | None
    expected_return: float
    confidence: float
    vol20: float
    bars_left: int
    decided_ns: int


@dataclass(frozen=True, slots=True)
class BookState:
    """Everything the simulated book carries from one bar to the next, in quote currency.

    `day_flows` are deposits and dividends of the running session, `realised` the result of all sales less all `fees`
    since the book began. `session` is a date ordinal (0: none yet), `halted_until_ns` UTC epoch ns (0: never halted).
    `holdings` are sorted by symbol, `pending` by the order in which they were decided.
    """

    cash: float
    day_start_equity: float = 0.0
    day_flows: float = 0.0
    realised: float = 0.0
    fees: float = 0.0
    session: int = 0
    trades_today: int = 0
    halted_until_ns: int = 0
    holdings: tuple[Holding, ...] = ()
    pending: tuple[PendingOrder, ...] = ()
    rebalance: RebalancePlan | None = None

    def __post_init__(self) -> None:
        """Refuse a book that no roll could have left."""
        if not 0.0 <= self.cash < float("inf"):
            msg = f"book state: cash {self.cash} must be a finite amount of at least 0"
            raise ValueError(msg)
        held = [holding.symbol for holding in self.holdings]
        if held != sorted(set(held)):
            msg = f"book state: holdings {held} must be sorted by symbol and each named once"
            raise ValueError(msg)
        ordered = [order.symbol for order in self.pending]
        if len(ordered) != len(set(ordered)):
            msg = f"book state: pending orders {ordered} name a symbol twice; one order for each symbol at a time"
            raise ValueError(msg)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol that the state speaks of, sorted."""
        named = {holding.symbol for holding in self.holdings} | {order.symbol for order in self.pending}
        if self.rebalance is not None:
            named |= {self.rebalance.into, self.rebalance.out_of or self.rebalance.into}
        return tuple(sorted(named))

    def equity(self, qty_decimals: int) -> float:
        """Cash and holdings at their last prices, added one by one in symbol order as the kernel does."""
        scale = float(10**qty_decimals)
        equity = self.cash
        for held in self.holdings:  # not sum(), which compensates rounding and so may differ in the last bit
            equity += float(held.lots) / scale * held.last_price
        return equity


def state_to_bytes(state: BookState) -> bytes:
    """The canonical bytes of a state: equal states give equal bytes, on every platform."""
    content = {"format": _FORMAT, **_plain(asdict(state))}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def state_from_bytes(data: bytes) -> BookState:
    """The state that `state_to_bytes` wrote.

    Raises:
        ValueError: the bytes are no state, or one of another version.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        msg = f"book state cannot be read: {error}; roll the book again from an earlier session"
        raise ValueError(msg) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        msg = f"book state has format {found!r}, expected {_FORMAT!r}; roll the book again from its first session"
        raise ValueError(msg)
    return _state_of(content)


def state_hash(state: BookState) -> str:
    """SHA-256 of the canonical bytes, hexadecimal."""
    return hashlib.sha256(state_to_bytes(state)).hexdigest()


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain_value(key, value) for key, value in part.items()}


def _plain_value(key: str, value: object) -> object:
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Reason):
        return value.code
    if key in _FLOATS and isinstance(value, (int, float)):
        return float(value) + 0.0  # one spelling of a number: 100 becomes 100.0 and -0.0 becomes 0.0
    return value


def _state_of(content: Mapping[str, Any]) -> BookState:
    fields = {key: value for key, value in content.items() if key != "format"}
    fields["holdings"] = tuple(Holding(**held) for held in content["holdings"])
    fields["pending"] = tuple(
        PendingOrder(**{**order, "side": Side(order["side"]), "reason": Reason[order["reason"].upper()]})
        for order in content["pending"]
    )
    if content["rebalance"] is not None:
        fields["rebalance"] = RebalancePlan(**content["rebalance"])
    return BookState(**fields)
