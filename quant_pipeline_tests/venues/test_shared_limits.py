"""One budget for several processes: they share it, survive one another's deaths, and no group waits for another."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from quant_pipeline.exchange.server import ExchangeConfig, running_exchange
from quant_pipeline.venues.alpaca.clients import BUDGETS
from quant_pipeline.venues.budgets import CELLS, LEASE, Announcement
from quant_pipeline.venues.errors import RateLimited
from quant_pipeline.venues.shared_limits import SharedLimiter
from quant_pipeline.venues.upbit.limits import ACCOUNT, QUOTATIONS
from quant_pipeline_tests.venues.sharing import pages, sharing


def _no_sleep(seconds: float) -> None:
    pytest.fail(f"had to wait {seconds} s")


def test_two_processes_that_begin_at_different_times_are_never_refused(tmp_path: Path) -> None:
    config = ExchangeConfig(alpaca_port=0, upbit_port=0, clock="2026-03-03T00:00:00+00:00")
    with running_exchange(config) as running:
        with sharing("pages", tmp_path, running.upbit_url, 18) as process:
            # Enough for several windows in each of them, whoever is the quicker one.
            pages(tmp_path, running.upbit_url, 12)
            assert process.wait(60) == 0
        statuses = Counter(one["status"] for one in running.admin.requests(dialect="upbit"))
    assert statuses == {200: 30}
    assert [path.name.rpartition(".")[2] for path in tmp_path.iterdir()] == ["candles"]


def test_a_process_that_is_killed_inside_the_lock_keeps_nobody_out_and_its_permit_comes_back(tmp_path: Path) -> None:
    with sharing("holds", tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    now = time.monotonic()
    limiter = SharedLimiter(tmp_path / "upbit", QUOTATIONS, max_wait=0.0, monotonic=lambda: now, sleep=_no_sleep)
    for _ in range(9):
        limiter.before("candles")
    with pytest.raises(RateLimited):
        limiter.before("candles")
    now += LEASE + 2
    for _ in range(10):
        limiter.before("candles")


def test_what_one_learns_and_spends_another_knows(tmp_path: Path) -> None:
    one, other = (
        SharedLimiter(tmp_path / "alpaca", BUDGETS, max_wait=1.0, monotonic=lambda: 50.0, sleep=_no_sleep)
        for _ in range(2)
    )
    one.after(one.before("trading"), Announcement(limit=3, remaining=2))
    other.before("trading")
    one.before("trading")
    for limiter in (one, other):
        with pytest.raises(RateLimited):
            limiter.before("trading")


def test_an_order_does_not_wait_for_candles_or_for_what_else_an_account_is_asked(tmp_path: Path) -> None:
    data = SharedLimiter(tmp_path / "upbit", QUOTATIONS, max_wait=0.0, monotonic=lambda: 50.0)
    account = SharedLimiter(tmp_path / "upbit-account", ACCOUNT, max_wait=0.0, monotonic=lambda: 50.0, sleep=_no_sleep)
    data.after(data.before("candles"), Announcement(pause=60.0))
    account.after(account.before("default"), Announcement(pause=60.0))
    assert account.before("order").group == "order"


def test_a_file_that_was_cut_short_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / "upbit.candles").write_bytes(b"\0" * 100)
    limiter = SharedLimiter(tmp_path / "upbit", QUOTATIONS, max_wait=0.0)
    limiter.after(limiter.before("candles"), Announcement(remaining=9))
    assert (tmp_path / "upbit.candles").stat().st_size == CELLS * 8
