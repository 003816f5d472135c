"""Plain OHLCV files: any order and case of columns, a time column, optionally a symbol column."""

from __future__ import annotations

from quant_pipeline.importers.errors import UnusableFile
from quant_pipeline.importers.values import Format, Layout, Peek

BAR_FIELDS = ("open", "high", "low", "close", "volume")
TIME_NAMES = ("timestamp", "datetime", "date", "time", "ts", "__index_level_0__")


def sniff(peek: Peek) -> bool:
    """All five numbers and at least one time column are named in the header."""
    return has_bar_fields(peek) and peek.column(*TIME_NAMES) is not None


def has_bar_fields(peek: Peek) -> bool:
    """Whether the header names open, high, low, close and volume."""
    return all(peek.column(name) is not None for name in BAR_FIELDS)


def layout(peek: Peek) -> Layout:
    """Columns by name; where the prices come from and how they are adjusted is not known."""
    return named_layout(peek, source="file", feed="unknown", adjustment="raw" if peek.krw else "unknown")


def named_layout(peek: Peek, *, source: str, feed: str, adjustment: str, zone: str | None = None) -> Layout:
    """The layout of a file whose columns carry the usual English names.

    Raises:
        UnusableFile: a needed column is absent, stands twice, or the time is spread over two columns.
    """
    _require_single_columns(peek)
    return Layout(
        time=_position(peek, *TIME_NAMES),
        open=_position(peek, "open"),
        high=_position(peek, "high"),
        low=_position(peek, "low"),
        close=_position(peek, "close"),
        volume=_position(peek, "volume"),
        symbol=peek.column("symbol", "ticker"),
        source=source,
        feed=feed,
        adjustment=adjustment,
        zone=zone,
    )


def _position(peek: Peek, *names: str) -> int:
    position = peek.column(*names)
    if position is None:
        msg = f"the file has no column {names[0]!r}"
        raise UnusableFile(msg, f"The header names {', '.join(peek.header)}; rename or add the column.")
    return position


def _require_single_columns(peek: Peek) -> None:
    titles = peek.titles()
    for name in (*BAR_FIELDS, *TIME_NAMES, "symbol", "ticker"):
        if titles.count(name) > 1:
            msg = f"the header names column {name!r} {titles.count(name)} times"
            raise UnusableFile(msg, "Leave one of them.")
    if "date" in titles and "time" in titles:
        msg = "the header names both 'date' and 'time'"
        raise UnusableFile(msg, "Join them into one column, for example 'datetime' with 2025-01-02 09:30:00.")


PLAIN = Format("plain", sniff, layout)
