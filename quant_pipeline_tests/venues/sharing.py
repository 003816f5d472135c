"""Another process under the same budgets: what the tests of shared limiters start. No assertions here.

python -m quant_pipeline_tests.venues.sharing pages FOLDER URL COUNT    fetches so many pages of candles
python -m quant_pipeline_tests.venues.sharing holds FOLDER              takes a permit, locks the file, and waits
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quant_pipeline.core.values import Mode
from quant_pipeline.venues.factory import VenueConfig, connect
from quant_pipeline.venues.shared_limits import SharedLimiter
from quant_pipeline.venues.upbit.limits import QUOTATIONS
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests
from quant_pipeline_tests.venues.makers import UPBIT_ACCESS, UPBIT_SECRET

UNTIL = datetime(2026, 3, 3, tzinfo=UTC)


def pages(folder: Path, url: str, count: int) -> None:
    """Fetch `count` pages of candles, each a request; say so after the first."""
    config = VenueConfig("upbit", Mode.SIMULATED, url, url, UPBIT_ACCESS, UPBIT_SECRET, limits=folder)
    data, broker = connect(config)
    with closing(data), closing(broker):
        for n in range(count):
            end = UNTIL - timedelta(minutes=200 * n)
            data.bars(["KRW-BTC"], "1m", end - timedelta(minutes=200), end)
            if n == 0:
                print("begun", flush=True)  # noqa: T201 - the sign


def holds(folder: Path) -> None:
    """Take a permit, and stay inside the file's lock."""
    limiter = SharedLimiter(folder / "upbit", QUOTATIONS, max_wait=1.0)
    limiter.before("candles")
    with limiter._opened("candles"):
        print("begun", flush=True)  # noqa: T201 - the sign
        sys.stdin.read()


@contextmanager
def sharing(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Such a process, once it has begun."""
    argv = [sys.executable, "-W", "ignore", "-m", "quant_pipeline_tests.venues.sharing", *map(str, arguments)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment_of_tests()) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"begun\n"
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    if sys.argv[1] == "pages":
        pages(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        holds(Path(sys.argv[2]))
