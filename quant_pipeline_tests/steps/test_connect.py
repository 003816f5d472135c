"""Opening a desk: modes become addresses and keys, and what is missing is named."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from quant_pipeline.core.values import Mode
from quant_pipeline.settings import Settings, SettingsError
from quant_pipeline.steps.connect import market_clock, open_desk, venue_config
from quant_pipeline.steps.failures import note_failed_run
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.errors import SchemaVersionError
from quant_pipeline.storage.identity import get_settings
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import BUY, settings_for

US, KRW = "us_equity", "krw_crypto"


def _settings(tmp_path: Path, market: str = US, *, secrets: dict[str, str] | None = None, **changes: Any) -> Settings:
    settings = settings_for(tmp_path, market, **changes)
    given = {name: SecretStr(value) for name, value in (secrets or {}).items()}
    return settings.model_copy(update={"secrets": settings.secrets.model_copy(update=given)})


def _on(settings: Settings, dsn: Dsn) -> Settings:
    """The settings with a server of their own."""
    named = {"host": dsn.host, "port": dsn.port, "user": dsn.user, "database": dsn.database}
    postgres = settings.postgres.model_copy(update=named | {"password": SecretStr(dsn.password)})
    return settings.model_copy(update={"postgres": postgres})


def test_a_desk_stores_its_settings_by_hash_and_connects_nothing_yet(tmp_path: Path, database: Database) -> None:
    settings = _on(_settings(tmp_path), database.dsn)
    with closing(open_desk(settings)) as desk:
        stored = get_settings(desk.db, settings.content_hash())
        trading = get_settings(desk.db, settings.us_equity.trading_hash())
        assert desk._venues == {}
    assert stored == settings.content()
    assert trading == settings.us_equity.trading_content()
    assert database.dsn.password not in str(stored)


def test_a_database_without_the_schema_is_refused_with_the_command_to_run(tmp_path: Path, empty_database: Dsn) -> None:
    with pytest.raises(SchemaVersionError, match="quant migrate"):
        open_desk(_on(_settings(tmp_path), empty_database))


def test_a_simulated_market_never_sees_real_keys(tmp_path: Path) -> None:
    secrets = {"alpaca_api_key": "REAL", "alpaca_api_secret": "REAL-SECRET"}
    settings = _settings(tmp_path, secrets=secrets)
    config = venue_config(settings, settings.us_equity)
    assert (config.mode, config.key, config.secret) == (Mode.SIMULATED, "SIM-ALPACA-KEY", "SIM-ALPACA-SECRET")
    assert config.trading_url == config.data_url == f"http://127.0.0.1:{settings.ports.exchange_alpaca}"


def test_a_paper_market_needs_its_keys_and_goes_to_the_paper_host(tmp_path: Path) -> None:
    bare = _settings(tmp_path, mode="paper")
    with pytest.raises(SettingsError, match="ALPACA_API_KEY is empty"):
        venue_config(bare, bare.us_equity)
    half = _settings(tmp_path, secrets={"alpaca_api_key": "K"}, mode="paper")
    with pytest.raises(SettingsError, match="ALPACA_API_SECRET is empty"):
        venue_config(half, half.us_equity)
    whole = _settings(tmp_path, secrets={"alpaca_api_key": "K", "alpaca_api_secret": "S"}, mode="paper")
    config = venue_config(whole, whole.us_equity)
    assert (config.trading_url, config.live_account) == ("https://paper-api.alpaca.markets", None)


def test_an_exchange_that_does_not_answer_is_named_with_what_to_start(tmp_path: Path) -> None:
    settings = _settings(tmp_path, trading_url="http://127.0.0.1:9", data_url="http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9/admin/clock; start it with `quant exchange`"):
        market_clock(settings, settings.us_equity)


def test_the_clock_of_a_simulated_market_is_its_exchange_s(build: Build) -> None:
    at = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
    world = build(US, {"AAA": {at.date(): [(0, 100.0)]}}, at.date(), at.date(), clock=at)
    assert world.desk.clock(world.market) == at
    world.admin.set_clock(at + timedelta(minutes=5))
    assert world.desk.clock(world.market) == at + timedelta(minutes=5)


def test_the_clock_of_a_paper_market_is_the_real_time(tmp_path: Path) -> None:
    settings = _settings(tmp_path, secrets={"alpaca_api_key": "K", "alpaca_api_secret": "S"}, mode="paper")
    before = datetime.now(UTC)
    assert before <= market_clock(settings, settings.us_equity) <= datetime.now(UTC)


def test_a_failed_run_is_noted_once(build: Build) -> None:
    day = datetime(2026, 3, 2, tzinfo=UTC).date()
    world = build(US, {"AAA": {day: [(0, 100.0)]}}, day, day)
    world.say(day, {"AAA": BUY})
    for _ in range(2):
        note_failed_run(world.desk, run_id="r1", job="tick", market=US, message="x" * 5000)
    with world.desk.db.begin() as connection:
        rows = connection.execute(text("SELECT kind, market, payload FROM outbox")).all()
    ((kind, market, payload),) = rows
    assert (kind, market, payload["run_id"], len(payload["message"])) == ("run_failure", US, "r1", 2000)
