"""Lean factor and map files: dated splits and dividends of a share, and since when a ticker means it.

Reading only; adjusting prices and storing actions belong elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

from quant_pipeline.importers.source import Source, open_source
from quant_pipeline.markets.calendar import next_session

_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LARGEST_DENOMINATOR = 1000
"""Split factors are written with seven digits; splits are ratios of small numbers."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Factors that hold up to and including `until`: adjusted = raw * price * split; `reference` is the raw close."""

    until: date
    price: Decimal
    split: Decimal
    reference: Decimal


@dataclass(frozen=True, slots=True)
class Action:
    """A split (`ratio` new shares for one old) or a cash dividend (`amount` in USD a share), in force on `ex_date`."""

    symbol: str
    ex_date: date
    kind: Literal["split", "dividend"]
    ratio: Decimal | None = None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class TickerSpan:
    """The ticker under which a share traded from `first` to `last`, both included."""

    ticker: str
    first: date
    last: date


def read_factor_file(path: Path) -> tuple[Factor, ...]:
    """The factors of `factor_files/<symbol>.csv` by date: `date,price_factor,split_factor[,reference_price]`.

    Raises:
        ImportRefused: the file cannot be read, or a row is not of this form; names the line.
    """
    source = open_source(path)
    factors: list[Factor] = []
    for line, fields in source.numbered():
        until = _day(source, line, fields[0])
        if len(fields) not in (3, 4) or not all(_DECIMAL.fullmatch(text) for text in fields[1:]):
            _refuse(source, line, fields, "date,price_factor,split_factor,reference_price")
        price, split, *reference = (Decimal(text) for text in fields[1:])
        if price <= 0 or split <= 0:
            _refuse(source, line, fields, "factors above zero")
        factors.append(Factor(until, price, split, reference[0] if reference else Decimal(0)))
    return tuple(sorted(factors, key=lambda factor: factor.until))


def read_map_file(path: Path) -> tuple[TickerSpan, ...]:
    """The tickers of `map_files/<symbol>.csv` by date: `date,ticker,exchange`, each up to its date.

    The first row says since when the data is of this company: bars before it belong to another one.

    Raises:
        ImportRefused: the file cannot be read, or a row is not of this form; names the line.
    """
    source = open_source(path)
    rows: list[tuple[date, str]] = []
    for line, fields in source.numbered():
        day = _day(source, line, fields[0])
        if len(fields) not in (2, 3) or not fields[1]:
            _refuse(source, line, fields, "date,ticker,exchange")
        rows.append((day, fields[1].upper()))
    rows.sort()
    return tuple(
        TickerSpan(ticker, start if number == 0 else _after(start), end)
        for number, ((start, _), (end, ticker)) in enumerate(pairwise(rows))
    )


def actions_of(symbol: str, factors: tuple[Factor, ...]) -> tuple[Action, ...]:
    """The splits and dividends that a factor table implies, by date.

    A step between two rows takes effect on the session after the earlier row's date. Amounts are as exact as the
    seven digits of the factors allow (about a tenth of a cent).
    """
    found: list[Action] = []
    for before, after in pairwise(factors):
        if before.split != after.split:
            ratio = Fraction(after.split / before.split).limit_denominator(_LARGEST_DENOMINATOR)
            exact = Decimal(ratio.numerator) / Decimal(ratio.denominator)
            found.append(Action(symbol, _effective(before), "split", ratio=exact))
        if before.price != after.price:
            amount = before.reference * (1 - before.price / after.price)
            found.append(Action(symbol, _effective(before), "dividend", amount=amount.quantize(Decimal("0.0001"))))
    return tuple(found)


def _effective(factor: Factor) -> date:
    return next_session("nyse", factor.until)


def _after(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1)


def _day(source: Source, line: int, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a date, not a time
    except ValueError:
        source.refuse("the row does not begin with a date", remedy="Write it as YYYYMMDD.", line=line, value=text)


def _refuse(source: Source, line: int, fields: list[str], form: str) -> None:
    source.refuse("the row cannot be understood", remedy=f"Expected {form}.", line=line, value=",".join(fields))
