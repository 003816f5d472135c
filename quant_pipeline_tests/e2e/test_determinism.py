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

from quant_pipeline.demo.command import DemoResult, run_demo
from quant_pipeline.demo.options import DemoOptions

pytestmark = pytest.mark.timeout(1500)

SEED: Final = 2


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
    assert len({market.fingerprint for market in one.markets}) == 2, "a fingerprint of nothing"


def test_the_demo_trades_and_agrees_with_its_exchange(demos: tuple[DemoResult, DemoResult]) -> None:
    for demo in demos:
        assert demo.agrees
        assert sum(market.posts for market in demo.markets) > 0, "no order was sent: choose another seed"
        assert sum(market.opinions for market in demo.markets) > 0
        assert all(sum(market.models.values()) > 0 for market in demo.markets)
