"""One account's cash and holdings, with what open orders bind. Pure bookkeeping: no prices, no rules, no time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

from quant_pipeline.core.values import Side

_ZERO = Decimal(0)
AVERAGE_DECIMALS = 12
SHARE_DECIMALS = Decimal("1e-9")
"""What is kept of a fraction of a share."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one symbol: `qty` includes `locked`; `avg_price` is the mean cost of a unit without fees."""

    qty: Decimal = _ZERO
    locked: Decimal = _ZERO
    avg_price: Decimal = _ZERO

    @property
    def available(self) -> Decimal:
        """What no open order binds."""
        return self.qty - self.locked


@dataclass(slots=True)
class Account:
    """Balances of one account in one currency: `cash` includes `locked`. Only the engine changes it.

    `splits` are the splits that were applied, so that none is applied twice.
    """

    currency: str
    cash: Decimal
    locked: Decimal = _ZERO
    fees_paid: Decimal = _ZERO
    holdings: dict[str, Holding] = field(default_factory=dict)
    splits: set[str] = field(default_factory=set)

    @property
    def available(self) -> Decimal:
        """Cash that no open order binds."""
        return self.cash - self.locked

    def holding(self, symbol: str) -> Holding:
        """What is held of `symbol`, nothing included."""
        return self.holdings.get(symbol, Holding())

    def lock(self, cash: Decimal, symbol: str, qty: Decimal) -> None:
        """Bind cash and holdings to an order; negative amounts release them."""
        self.locked += cash
        if qty:
            held = self.holding(symbol)
            self.holdings[symbol] = replace(held, locked=held.locked + qty)

    def split(self, symbol: str, ratio: Fraction, key: str) -> None:
        """Multiply what is held by `ratio`, rounded down to nine decimals; it costs what it did. No order may bind it."""
        self.splits.add(key)
        held = self.holding(symbol)
        exact = Fraction(held.qty) * ratio
        qty = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(SHARE_DECIMALS, ROUND_DOWN)
        if qty:
            average = round(held.avg_price * held.qty / qty, AVERAGE_DECIMALS)
            self.holdings[symbol] = replace(held, qty=qty.normalize() + 0, avg_price=average)
        else:
            self.holdings.pop(symbol, None)

    def fill(self, symbol: str, side: Side, qty: Decimal, funds: Decimal, fee: Decimal) -> None:
        """Book an execution: `funds` is price times quantity, `fee` is paid on top. Locks are released apart."""
        held = self.holding(symbol)
        if side is Side.BUY:
            self.cash -= funds + fee
            total = held.qty + qty
            average = round((held.avg_price * held.qty + funds) / total, AVERAGE_DECIMALS)
            self.holdings[symbol] = replace(held, qty=total, avg_price=average)
        else:
            self.cash += funds - fee
            left = held.qty - qty
            if left:
                self.holdings[symbol] = replace(held, qty=left)
            else:
                del self.holdings[symbol]
        self.fees_paid += fee
