"""Reading settings: layers, original names, and what refuses to start and how it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quant_pipeline.core.values import Book, Mode
from quant_pipeline.settings import Settings, SettingsError, load_settings

REPOSITORY = Path(__file__).parents[2]


def from_environment(**environ: str) -> Settings:
    return load_settings(REPOSITORY / "quant.toml", environ=environ)


def from_text(folder: Path, text: str, **environ: str) -> Settings:
    config = folder / "quant.toml"
    config.write_text(text, encoding="utf-8")
    return load_settings(config, environ=environ)


def test_the_shipped_file_says_exactly_the_defaults(tmp_path: Path) -> None:
    assert from_environment().content() == from_text(tmp_path, "").content()


def test_every_market_starts_simulated_with_the_limits_of_the_original(tmp_path: Path) -> None:
    for market in from_text(tmp_path, "").markets:
        risk, ai = market.risk, market.ai
        assert market.mode is Mode.SIMULATED
        assert market.broker_book is Book.PAPER
        assert (risk.max_portfolio_exposure, risk.max_positions, risk.max_position_size) == (0.80, 7, 0.10)
        assert (risk.stop_loss_pct, risk.take_profit_pct, risk.max_daily_loss) == (-0.05, 0.10, -0.02)
        assert (ai.buy_threshold, ai.sell_threshold, ai.confidence_threshold) == (0.005, -0.005, 0.7)
    assert len(from_text(tmp_path, "").us_equity.symbols) == 32


def test_original_names_reach_every_market_and_beat_the_file(tmp_path: Path) -> None:
    text = "[markets.us_equity.risk]\nmax_positions = 3\n"
    found = from_text(tmp_path, text, RISK_MAX_POSITIONS="5", AI_CONFIDENCE_THRESHOLD="0.75")
    assert [m.risk.max_positions for m in found.markets] == [5, 5]
    assert [m.ai.confidence_threshold for m in found.markets] == [0.75, 0.75]


def test_any_setting_can_be_named_in_the_environment() -> None:
    found = from_environment(QUANT__MARKETS__US_EQUITY__MODE="paper", QUANT__PORTS__API="5055")
    assert (found.us_equity.mode, found.ports.api) == (Mode.PAPER, 5055)


def test_own_postgres_comes_from_the_original_names() -> None:
    found = from_environment(POSTGRES_HOST="db", POSTGRES_USER="me", POSTGRES_PASSWORD="hidden", POSTGRES_DB="desk")
    assert (found.postgres.host, found.postgres.database) == ("db", "desk")
    assert found.postgres.password.get_secret_value() == "hidden"


def test_no_printed_form_of_the_settings_holds_a_secret() -> None:
    found = from_environment(ALPACA_API_KEY="top", ALPACA_API_SECRET="secret-7", POSTGRES_PASSWORD="secret-8")
    shown = f"{found!r} {found} {found.content()} {found.secrets}"
    assert "secret-7" not in shown
    assert "secret-8" not in shown


def test_empty_values_count_as_not_set() -> None:
    assert (
        from_environment(ALPACA_API_KEY="", RISK_MAX_POSITIONS="", POSTGRES_HOST="").content()
        == from_environment().content()
    )


def test_a_dotenv_file_beside_the_settings_is_read_under_the_process_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quant.toml").write_text("")
    (tmp_path / ".env").write_text("RISK_MAX_POSITIONS=4\nRISK_MAX_DAILY_TRADES=9\n")
    monkeypatch.setenv("RISK_MAX_POSITIONS", "6")
    risk = load_settings(tmp_path / "quant.toml").us_equity.risk
    assert (risk.max_positions, risk.max_daily_trades) == (6, 9)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RISK_MAX_POSITIONS": "0"}, r"markets\.us_equity\.risk\.max_positions = '0': .*greater than or equal to 1"),
        ({"RISK_STOP_LOSS_PCT": "0.05"}, r"risk\.stop_loss_pct = '0\.05'"),
        ({"RISK_MAX_POSITION": "5"}, r"RISK_MAX_POSITION in the environment .* did you mean RISK_MAX_POSITIONS"),
        ({"AI_CONFIDENCE_TRESHOLD": "1"}, r"did you mean AI_CONFIDENCE_THRESHOLD"),
        ({"QUANT__PORT__API": "1"}, r"QUANT__PORT__API in the environment is not a setting"),
        ({"QUANT__PORTS__API": "5001"}, r"ports\.mlflow and ports\.api are both 5001"),
        ({"QUANT__MARKETS__US_EQUITY__MODE": "live"}, r"live_account is empty; name the account"),
        ({"QUANT__MARKETS__KRW_CRYPTO__MODE": "paper"}, r"Upbit has no paper accounts"),
        ({"QUANT__MARKETS__US_EQUITY__TRADING_URL": ""}, r"URL '' is empty"),
        (
            {"QUANT__MARKETS__KRW_CRYPTO__SYMBOLS": '["BTC"]'},
            r"holds 'BTC'; symbols of krw_crypto are written like 'KRW-BTC'",
        ),
        (
            {"QUANT__MARKETS__US_EQUITY__SYMBOLS": '["KRW-BTC"]'},
            r"holds 'KRW-BTC'; symbols of us_equity are written like",
        ),
        ({"QUANT__MARKETS__US_EQUITY__VOTE__WEIGHTS__RSI": "1"}, r"'rsi', which is no strategy; known: ema_trend"),
        ({"QUANT__MARKETS__US_EQUITY__SYMBOLS": '["SPY","SPY"]'}, r"symbols name SPY more than once"),
        ({"QUANT__MARKETS__US_EQUITY__ORDERS__TYPE": "best"}, r"'best' needs orders\.time_in_force"),
        ({"QUANT__MARKETS__US_EQUITY__AI__TRAINING_SESSIONS": "100"}, r"min_training_sessions \(500\) is above"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_value_and_the_remedy(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_environment(**environ)


def test_a_mistyped_url_is_named_without_what_may_be_a_password() -> None:
    with pytest.raises(SettingsError, match=r"URL 'host/path' is") as refused:
        from_environment(QUANT__MARKETS__US_EQUITY__TRADING_URL="htp://me:secret-7@host/path")
    assert "secret-7" not in str(refused.value)


def test_live_needs_the_account_and_the_paper_switch_off(tmp_path: Path) -> None:
    text = '[markets.us_equity]\nmode = "live"\nlive_account = "PA-7"\n'
    with pytest.raises(SettingsError, match="ALPACA_PAPER is true"):
        from_text(tmp_path, text)
    found = from_text(tmp_path, text, ALPACA_PAPER="false")
    assert found.us_equity.broker_book is Book.LIVE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[markets.us_equity.risc]\nx = 1\n", r"markets\.us_equity\.risc"),
        ("[markets.forex]\n", r"markets\.forex is not a market"),
        ("[us_equity]\nmode = 'live'\n", r"us_equity is not a section"),
        ("[secrets]\nsecret_key = 'x'\n", r"secrets do not belong in a file"),
        ("[state]\nplace = 'x'\n", r"state\.place is not a setting"),
        ("[markets\n", r"is not valid TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_and_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_text(tmp_path, text)


def test_a_file_that_was_named_but_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml does not exist"):
        load_settings(tmp_path / "nowhere.toml", environ={})


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ({"markets": {"us_equity": {"risk": {"max_positions": 6}}}}, True),
        ({"markets": {"us_equity": {"symbols": ["SPY"]}}}, True),
        ({"ports": {"api": 5999}}, False),
        ({"markets": {"us_equity": {"mode": "paper"}}}, False),
    ],
)
def test_the_trading_hash_moves_with_what_a_decision_depends_on_and_nothing_else(
    change: dict[str, Any], *, moves: bool
) -> None:
    before = load_settings(REPOSITORY / "quant.toml", environ={}).us_equity.trading_hash()
    after = load_settings(REPOSITORY / "quant.toml", environ={}, changes=change).us_equity.trading_hash()
    assert (before != after) is moves
