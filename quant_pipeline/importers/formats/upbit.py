"""Upbit candles as programs save them: UTC stamps, pyupbit frames (KST index) and Korean headers (KST).

All of them stamp the START of the candle. An absent candle is a span without a trade, or lost by the collector.
"""

from __future__ import annotations

from quant_pipeline.importers.errors import UnusableFile
from quant_pipeline.importers.formats.plain import has_bar_fields, named_layout
from quant_pipeline.importers.values import Format, Layout, Peek

SOURCE = "upbit_file"
"""Not the venue's own name: it may withdraw only what it gave us itself."""
SEOUL = "Asia/Seoul"
_KOREAN = {"open": "시가", "high": "고가", "low": "저가", "close": "중가", "volume": "누적거래량"}
# The closing price is 종가; a widely used collector writes 중가.
_KOREAN_CLOSE = ("종가", "중가")
_KOREAN_TIME = ("캔들기준시간(KST 기준)", "캔들기준시간(KST)", "캔들기준시간")


def sniff_utc(peek: Peek) -> bool:
    """A KRW pair whose header is exactly `timestamp,open,high,low,close,volume`."""
    titles = peek.titles()
    return peek.krw and titles == ["timestamp", "open", "high", "low", "close", "volume"]


def layout_utc(peek: Peek) -> Layout:
    """Zone-less stamps are UTC."""
    return named_layout(peek, source=SOURCE, feed="upbit", adjustment="raw", zone="UTC")


def sniff_pyupbit(peek: Peek) -> bool:
    """A pyupbit frame: an index without a name (KST), then the five numbers and `value` (turnover in KRW)."""
    unnamed = bool(peek.header) and peek.header[0].strip() in ("", "index", "__index_level_0__", "Unnamed: 0")
    time_column = unnamed or (bool(peek.header) and peek.header[-1] == "__index_level_0__")
    return peek.krw and time_column and has_bar_fields(peek) and peek.column("value") is not None


def layout_pyupbit(peek: Peek) -> Layout:
    """The unnamed column is the time, Korean time without saying so."""
    time = 0 if peek.header[-1] != "__index_level_0__" else len(peek.header) - 1
    return Layout(
        time=time,
        open=_named(peek, "open"),
        high=_named(peek, "high"),
        low=_named(peek, "low"),
        close=_named(peek, "close"),
        volume=_named(peek, "volume"),
        source=SOURCE,
        feed="upbit",
        adjustment="raw",
        zone=SEOUL,
    )


def sniff_korean(peek: Peek) -> bool:
    """Korean column names with the candle time in KST."""
    return peek.column(*_KOREAN_TIME) is not None and peek.column(_KOREAN["open"]) is not None


def layout_korean(peek: Peek) -> Layout:
    """Korean names, any order; the coin's Korean name is not used, the symbol comes from the file name."""
    return Layout(
        time=_named(peek, *_KOREAN_TIME),
        open=_named(peek, _KOREAN["open"]),
        high=_named(peek, _KOREAN["high"]),
        low=_named(peek, _KOREAN["low"]),
        close=_named(peek, *_KOREAN_CLOSE),
        volume=_named(peek, _KOREAN["volume"]),
        source=SOURCE,
        feed="upbit",
        adjustment="raw",
        zone=SEOUL,
    )


def _named(peek: Peek, *names: str) -> int:
    position = peek.column(*names)
    if position is None:
        msg = f"the file has no column {names[0]!r}"
        raise UnusableFile(msg, f"The header names {', '.join(peek.header)}; rename or add the column.")
    return position


UPBIT_UTC = Format("upbit_utc", sniff_utc, layout_utc)
PYUPBIT = Format("pyupbit_kst", sniff_pyupbit, layout_pyupbit)
UPBIT_KOREAN = Format("upbit_korean", sniff_korean, layout_korean)
