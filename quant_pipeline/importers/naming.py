"""What a file name says: symbol, interval, KRW pair or stock. What the content says belongs to other modules."""

from __future__ import annotations

import re

_SUFFIXES = (".gz", ".csv", ".txt", ".parquet", ".pq", ".zip")
_KRW_FIRST = re.compile(r"KRW[-_]([A-Z0-9]{1,12})(?![A-Z0-9])", re.IGNORECASE)
_KRW_LAST = re.compile(r"([A-Z0-9]{1,12})[-_]KRW(?![A-Z0-9])", re.IGNORECASE)
_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}(?:[.\-][A-Z]{1,2})?")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,19}")
_UNITS = {"m": "m", "min": "m", "mins": "m", "minute": "m", "h": "h", "hour": "h", "d": "d", "day": "d"}
_COUNTED = re.compile(r"([0-9]{1,3})(mins?|minute|m|hour|h|day|d)")
_WORDS = {"daily": "1d", "hourly": "1h", "minute": "1m"}
_SAME = {"60m": "1h", "240m": "4h", "24h": "1d"}


def stem(name: str) -> str:
    """The name without its known suffixes: `BTC_KRW_1m.csv.gz` -> `BTC_KRW_1m`."""
    lowered = name.lower()
    for suffix in _SUFFIXES:
        if lowered.endswith(suffix):
            return stem(name[: -len(suffix)])
    return name


def symbol_in(name: str) -> str | None:
    """The symbol that a file name carries, or None.

    A KRW pair in either order (`KRW-ETH_15min`, `BTC_KRW_1m`) gives `KRW-ETH`, `KRW-BTC`; otherwise the first part
    of the name when it is written in capitals like a ticker (`AAPL.csv.gz`, `BRK.B_daily.csv`).
    """
    bare = stem(name)
    if pair := krw_pair(bare):
        return pair
    first = re.split(r"[_\s]", bare, maxsplit=1)[0]
    return first if _STOCK.fullmatch(first) else None


def krw_pair(text: str) -> str | None:
    """`KRW-XXX` when the text begins with a KRW pair in either order, else None."""
    if match := _KRW_FIRST.match(text):
        return f"KRW-{match.group(1).upper()}"
    if match := _KRW_LAST.match(text):
        return f"KRW-{match.group(1).upper()}"
    return None


def normal_symbol(text: str) -> str | None:
    """A symbol as it is stored: KRW pairs as `KRW-XXX`, others in capitals; None when it cannot be a symbol."""
    bare = text.strip()
    if pair := krw_pair(bare):
        return pair
    upper = bare.upper()
    return upper if _SYMBOL.fullmatch(upper) else None


def interval_in(name: str) -> str | None:
    """The interval that a part of the file name states (`_1min`, `_15m`, `_1h`, `_daily`), or None."""
    for part in re.split(r"[_\s]", stem(name).lower())[1:]:
        if part in _WORDS:
            return _WORDS[part]
        if match := _COUNTED.fullmatch(part):
            text = f"{int(match.group(1))}{_UNITS[match.group(2)]}"
            return _SAME.get(text, text)
    return None
