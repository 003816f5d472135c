"""Splits and dividends that the exchange is told to have: what they are and when. Prices and accounts follow elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from quant_pipeline.markets.calendar import is_session, session_hours
from quant_pipeline.markets.market import US_EQUITY

_CALENDAR = US_EQUITY.calendar


@dataclass(frozen=True, slots=True)
class ScriptedAction:
    """A split (`ratio` new shares for one old) or a cash dividend (`amount` in USD a share) of a stock.

    It is in force from the open of `ex_date` on. The venue lists it at once, or from `hidden_until` on.
    """

    symbol: str
    ex_date: date
    ratio: Fraction | None = None
    amount: Decimal | None = None
    hidden_until: date | None = None

    def __post_init__(self) -> None:
        """Refuse what no share can go through.

        Raises:
            ValueError: not exactly one of ratio and amount, a value that is not positive, or a day without trading.
        """
        if (self.ratio is None) == (self.amount is None):
            msg = f"action of {self.symbol} on {self.ex_date}: give a ratio for a split or an amount for a dividend"
            raise ValueError(msg)
        value = self.ratio if self.ratio is not None else self.amount
        if value is None or value <= 0:
            msg = f"action of {self.symbol} on {self.ex_date}: {value} must be above 0"
            raise ValueError(msg)
        if not is_session(_CALENDAR, self.ex_date):
            msg = f"action of {self.symbol}: {self.ex_date} is no trading day; name a session"
            raise ValueError(msg)

    @property
    def key(self) -> str:
        """What tells it from every other action."""
        return f"{self.symbol} {self.ex_date} {'split' if self.ratio is not None else 'dividend'}"

    @property
    def effective(self) -> int:
        """When it takes effect (epoch seconds)."""
        return int(session_hours(_CALENDAR, self.ex_date).opens_at.timestamp())


def read_action(values: Mapping[str, Any]) -> ScriptedAction:
    """An action from plain values: `symbol`, `ex_date`, `ratio` ("4", "3/2") or `amount`, and `hidden_until`.

    Raises:
        ValueError: a name is unknown or missing, or a value cannot be.
    """
    known = set(ScriptedAction.__slots__)
    if not set(values) <= known or not {"symbol", "ex_date"} <= set(values):
        msg = f"an action has {', '.join(sorted(known))} and at least symbol and ex_date; found {', '.join(values)}"
        raise ValueError(msg)
    ratio, amount, hidden = (values.get(name) for name in ("ratio", "amount", "hidden_until"))
    try:
        return ScriptedAction(
            str(values["symbol"]),
            date.fromisoformat(str(values["ex_date"])),
            None if ratio is None else Fraction(str(ratio)),
            None if amount is None else Decimal(str(amount)),
            None if hidden is None else date.fromisoformat(str(hidden)),
        )
    except (InvalidOperation, ZeroDivisionError) as error:
        msg = f"action of {values['symbol']}: ratio {ratio} or amount {amount} is not a number"
        raise ValueError(msg) from error


def plain_action(action: ScriptedAction) -> dict[str, str]:
    """The values that `read_action` reads back."""
    named = {name: getattr(action, name) for name in ScriptedAction.__slots__}
    return {name: str(value) for name, value in named.items() if value is not None}


class ActionList:
    """The actions of a running exchange by time; more may be told while it runs."""

    def __init__(self, actions: Iterable[ScriptedAction] = ()) -> None:
        """Begin with `actions`."""
        self._actions: list[ScriptedAction] = []
        for action in actions:
            self.add(action)

    def add(self, action: ScriptedAction) -> None:
        """Take in one more; the same one again changes nothing.

        Raises:
            ValueError: there is another one of that kind, symbol and day.
        """
        known = next((one for one in self._actions if one.key == action.key), None)
        if known not in (None, action):
            msg = f"there is another action {action.key}; choose another day"
            raise ValueError(msg)
        if known is None:
            self._actions = sorted((*self._actions, action), key=lambda one: (one.effective, one.key))

    def all(self) -> tuple[ScriptedAction, ...]:
        """Every action by time."""
        return tuple(self._actions)

    def of(self, symbol: str) -> tuple[ScriptedAction, ...]:
        """The actions of a symbol by time."""
        return tuple(action for action in self._actions if action.symbol == symbol)
