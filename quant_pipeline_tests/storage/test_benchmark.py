"""The benchmark of bulk bars still runs: it reaches into storage, and nobody runs it every day."""

from __future__ import annotations

import pytest

from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.benchmarks import bulk_bars


def test_benchmark_measures_each_way_in_and_out(postgres: Dsn, capsys: pytest.CaptureFixture[str]) -> None:
    bulk_bars.main(["--rows", "2000", "--dsn", postgres.adbc()])

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "in, new", "in, unchanged", "in, 1 % changed", "out",
        "ON CONFLICT, new", "ON CONFLICT, unchanged", "ON CONFLICT, 1 % changed",
    ]  # fmt: skip
    assert all("2,000 rows in" in line for line in lines)
    assert "inserted=2000" in lines[0]
    assert "unchanged=2000" in lines[1]
    assert "changed=20," in lines[2]
