"""Lean data archives: one headless csv per zip, prices in 1/10,000 USD, New York time, raw (unadjusted), START stamps.

Daily and hourly archives are `<symbol>.zip` with `YYYYMMDD HH:MM` rows; minute archives hold one day as
`<day>_<symbol>_minute_trade.csv` with milliseconds since midnight. Quote archives, factor files and map files are
recognised and hold no bars: the last two are read by `actions.py` and stored by `references.py`.
"""

from __future__ import annotations

import re
from datetime import date

from quant_pipeline.importers.errors import UnusableFile
from quant_pipeline.importers.times import style_of
from quant_pipeline.importers.values import Format, Layout, Peek

NEW_YORK = "America/New_York"
_INTEGER = re.compile(r"[0-9]+")
_DAY_MEMBER = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})_([A-Za-z.]+)_minute_(trade|quote)\.csv")
FACTOR_ROW = re.compile(r"[0-9]{8}(,[0-9.eE+-]+){2,3}")
MAP_ROW = re.compile(r"[0-9]{8},[A-Za-z][A-Za-z0-9.]*,[A-Z]*")


def sniff(peek: Peek) -> bool:
    """A headless archive member whose first row is a Lean bar or quote, or a factor or map file."""
    return _is_bars(peek) or _is_minutes(peek) or _is_factor_or_map(peek)


def layout(peek: Peek) -> Layout:
    """Six columns without header; symbol and day from the member's name.

    Raises:
        UnusableFile: the archive holds quotes, or the file is a factor or map file.
    """
    if _is_factor_or_map(peek):
        msg = "this is a Lean factor or map file, not bars"
        raise UnusableFile(msg, "`quant import` stores what it says.", is_other_kind=True)
    minutes = _DAY_MEMBER.fullmatch(peek.member or "")
    if minutes is None:
        return _layout((peek.member or peek.name).rsplit(".", 1)[0], None)
    year, month, day, symbol, kind = minutes.groups()
    if kind == "quote":
        msg = "the archive holds quotes, not trade bars"
        raise UnusableFile(msg, "Import the archive whose name ends in _trade.zip.", is_other_kind=True)
    return _layout(symbol, date(int(year), int(month), int(day)))


def _layout(symbol: str, day: date | None) -> Layout:
    return Layout(
        time=0,
        open=1,
        high=2,
        low=3,
        close=4,
        volume=5,
        file_symbol=symbol.upper(),
        header=False,
        source="lean",
        feed="consolidated",
        adjustment="raw",
        zone=NEW_YORK,
        stamp="start",
        times="compact" if day is None else "ms_of_day",
        scale=10_000.0,
        day=day,
    )


def _is_bars(peek: Peek) -> bool:
    first = peek.header
    return (
        peek.member is not None and len(first) == 6 and style_of(first[0], "compact") is not None and _integers(first)
    )


def _is_minutes(peek: Peek) -> bool:
    named = _DAY_MEMBER.fullmatch(peek.member or "")
    return named is not None and bool(peek.header) and _INTEGER.fullmatch(peek.header[0]) is not None


def _is_factor_or_map(peek: Peek) -> bool:
    first = ",".join(peek.header)
    return peek.member is None and any(pattern.fullmatch(first) is not None for pattern in (FACTOR_ROW, MAP_ROW))


def _integers(fields: tuple[str, ...]) -> bool:
    return all(_INTEGER.fullmatch(field) for field in fields[1:])


LEAN = Format("lean", sniff, layout)
