"""Two demos of the same seed, in two homes, with one thread and with two: the same in every decision, order and model."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from quant_pipeline.demo import command
from quant_pipeline.demo.command import DemoResult, run_demo
from quant_pipeline.demo.options import DemoOptions
from quant_pipeline.demo.summary import MarketSummary

pytestmark = pytest.mark.timeout(1500)

SEED: Final = 2
OTHER: Final = 3


@contextmanager
def demo_homes() -> Iterator[Path]:
    """A folder for homes, with the kernels that the tests have compiled; every account may enter it."""
    folder = Path(tempfile.mkdtemp(prefix="quant-demos-"))
    folder.chmod(0o711)  # root's server runs under another account
    (folder / "numba").symlink_to(Path(os.environ["NUMBA_CACHE_DIR"]).parent, target_is_directory=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run(home: Path, *, seed: int, threads: int) -> DemoResult:
    """A demo of four stocks, two coins and two sessions."""
    options = DemoOptions(home=home, seed=seed, sessions=2, threads=threads, symbols=4)
    return run_demo(options, Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def demos() -> Iterator[tuple[DemoResult, DemoResult]]:
    """The same demo in two homes, with one thread and with two."""
    with demo_homes() as folder:
        yield run(folder / "one", seed=SEED, threads=1), run(folder / "two", seed=SEED, threads=2)


def test_the_same_seed_gives_the_same_decisions_orders_and_boosters(demos: tuple[DemoResult, DemoResult]) -> None:
    """The fingerprint is over the rows of decisions of both books, orders, and the hash of every native booster."""
    one, two = demos

    assert [market.fingerprint for market in one.markets] == [market.fingerprint for market in two.markets]
    assert one.markets == two.markets


def test_the_demo_trades_and_agrees_with_its_exchange(demos: tuple[DemoResult, DemoResult]) -> None:
    for demo in demos:
        assert demo.agrees
        assert sum(market.posts for market in demo.markets) > 0, "no order was sent: choose another seed"
        assert all(market.opinions > 0 for market in demo.markets)
        assert all(sum(market.models.values()) > 0 for market in demo.markets)


def test_another_seed_gives_another_fingerprint(demos: tuple[DemoResult, DemoResult]) -> None:
    def stocks(result: DemoResult) -> MarketSummary:
        return next(market for market in result.markets if market.market == "us_equity")

    with demo_homes() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "MARKETS", ("us_equity",))
        other = run(folder / "other", seed=OTHER, threads=1)

    assert stocks(other).fingerprint != stocks(demos[0]).fingerprint
    assert stocks(other).sessions == stocks(demos[0]).sessions
