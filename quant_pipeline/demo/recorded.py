"""Real files as the bars of the simulated exchange, for `quant demo --data`. Parsing belongs to `importers`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console

from quant_pipeline.demo.options import RECORDED_KRW
from quant_pipeline.importers.read import read_file
from quant_pipeline.settings import Settings

_FOLDERS = {"us_equity": "us_daily/yahoo", "krw_crypto": "crypto"}


class MissingDataError(ValueError):
    """The folder does not hold the files that the demo needs."""


def write_recorded_bars(data: Path, settings: Settings, console: Console) -> None:
    """Read the Yahoo daily files and the Upbit minutes and hours, and write them where the exchange looks for bars.

    Raises:
        MissingDataError: a file is not there.
        ImportRefused: a file cannot be read.
    """
    target = settings.home / "recorded"
    stocks = sorted((data / "us_daily" / "yahoo").glob("*.csv.gz"))
    coins = [data / "crypto" / f"upbit_{i}" / f"{s[4:]}_KRW_{i}.csv.gz" for s in RECORDED_KRW for i in ("1m", "1h")]
    coins = [path for path in coins if path.exists()]
    if not stocks or not coins:
        msg = (
            f"{data} holds no us_daily/yahoo/*.csv.gz or no crypto/upbit_1m and upbit_1h files; name a folder that does"
        )
        raise MissingDataError(msg)
    rows = 0
    for path in (*stocks, *coins):
        parsed = read_file(path)
        rows += len(parsed.frame)
        _write(target / parsed.market / parsed.symbol / f"{parsed.interval}.parquet", parsed.frame)
    console.print(f"Read {len(stocks)} daily stock files and {len(coins)} Upbit files: {rows:,} bars.")


def _write(path: Path, frame: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)
