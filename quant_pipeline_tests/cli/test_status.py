"""`quant status`: a desk without anything, and one with rows of every kind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.cli.status import market_status
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline.storage.bars import upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import append_decisions
from quant_pipeline.storage.equity import record_equity
from quant_pipeline.storage.lake import Lake
from quant_pipeline_tests.cli.quant_process import QuantDesk
from quant_pipeline_tests.storage.builders import decision

SESSION = date(2026, 3, 3)
AT = datetime(2026, 3, 3, 21, tzinfo=UTC)


@pytest.fixture
def settings() -> Settings:
    return load_settings(environ={}, changes={"markets": {"us_equity": {"symbols": ["AAPL", "MSFT"]}}})


def test_a_new_desk_says_none_everywhere(migrated_desk: QuantDesk) -> None:
    done = migrated_desk.run("status", "--json")
    assert done.code == 0, done.stderr
    content = done.json()
    assert [row["market"] for row in content["markets"]] == ["us_equity", "krw_crypto"]
    for row in content["markets"]:
        assert (row["mode"], row["control"], row["decisions"], row["open_orders"]) == ("simulated", "running", None, [])
        assert (row["bars"]["newest"], row["models"]["versions"]) == (None, {})
    assert content["runs"] == []
    shown = migrated_desk.run("status", "--no-runs")
    assert shown.code == 0
    assert "last decisions" in shown.stdout
    assert "no run is queued" not in shown.stdout


def test_where_there_is_no_desk_none_is_begun(embedded_desk: QuantDesk) -> None:
    done = embedded_desk.run("status")
    assert (done.code, done.stdout) == (1, "")
    assert "there is no desk in" in done.stderr
    assert "--config" in done.stderr
    assert not list(embedded_desk.folder.rglob("postgres"))


def test_bars_decisions_and_equity_are_summed_up(database: Database, settings: Settings, tmp_path: Path) -> None:
    import pyarrow as pa

    bars = pd.DataFrame(
        {
            "symbol": ["AAPL", "AAPL", "MSFT"],
            "ts": pd.to_datetime(["2026-03-02T05:00Z", "2026-03-03T05:00Z", "2026-03-02T05:00Z"]),
            **{name: [10.0, 11.0, 12.0] for name in ("open", "high", "low", "close", "volume")},
        }
    )
    upsert_bars(database, "us_equity", "1d", bars, source="test", feed="test", adjustment="raw", at=AT)
    Lake(str(tmp_path), database).put_table("us_equity", "decisions", SESSION, pa.table({"x": [1]}))
    decided = [("paper", "AAPL", "hold_vote"), ("paper", "MSFT", "hold_vote"), ("shadow", "AAPL", "buy_signal")]
    rows = [decision(market="us_equity", book=b, symbol=s, session=SESSION, reason=reason) for b, s, reason in decided]
    append_decisions(database, rows)
    for days, equity in ((0, 100), (1, 105)):
        at = AT + timedelta(days=days)
        record_equity(database, "us_equity", "paper", at, SESSION, Decimal(40), Decimal(60), Decimal(equity))

    found = market_status(database, settings.market("us_equity"))
    assert found["bars"]["symbols_with_bars"] == 2
    assert found["bars"]["newest"] == datetime(2026, 3, 3, 5, tzinfo=UTC)
    assert found["bars"]["oldest_of_the_newest"] == datetime(2026, 3, 2, 5, tzinfo=UTC)
    assert found["decisions"]["session"] == SESSION
    assert found["decisions"]["by_reason"] == {"paper": {"hold_vote": 2}, "shadow": {"buy_signal": 1}}
    assert found["equity"]["paper"] == {"at": AT + timedelta(days=1), "equity": 105.0, "cash": 40.0}
    assert found["equity"]["shadow"] is None
