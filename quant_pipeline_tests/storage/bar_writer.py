"""A process that writes bars again and again: `python -m quant_pipeline_tests.storage.bar_writer WRITER ROUNDS`.

It gets the DSN on its standard input. All numbers of a bar are the number of the turn, so that a torn one would show.
"""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import timedelta

import pandas as pd

from quant_pipeline.storage.bars import upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.storage.builders import AT, MARKET, bars

SYMBOLS = ["A", "B", "C"]
COUNT = 200
START = pd.Timestamp("2024-01-31 22:00", tz="UTC")
OVERLAP = 100
"""The second writer begins this many minutes after the first; both write `COUNT` minutes, over the end of a month."""


def turn_of(writer: int, turn: int) -> float:
    """The number that stands for one write."""
    return float(1000 * writer + turn)


def frame_of(writer: int, turn: int) -> pd.DataFrame:
    """What a writer writes at a turn; the second one in the opposite order."""
    begin = START + pd.Timedelta(minutes=OVERLAP * writer)
    frame = bars(SYMBOLS, begin.isoformat(), COUNT)
    frame[["open", "high", "low", "close", "volume"]] = turn_of(writer, turn)
    return frame.iloc[::-1] if writer else frame


def main() -> None:
    writer, rounds = int(sys.argv[1]), int(sys.argv[2])
    with closing(Database(Dsn.parse(sys.stdin.readline().strip()))) as db:
        for turn in range(rounds):
            at = AT + timedelta(seconds=turn)
            change = upsert_bars(
                db, MARKET, "1m", frame_of(writer, turn), source=str(writer), feed="", adjustment="", at=at
            )
            if change.inserted + change.changed != COUNT * len(SYMBOLS):
                msg = f"turn {turn} of writer {writer} should have written every bar: {change}"
                raise AssertionError(msg)


if __name__ == "__main__":
    main()
