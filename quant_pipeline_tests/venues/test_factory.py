"""Which clients are built for which mode, and what is refused. Nothing is connected."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from quant_pipeline.core.values import Mode
from quant_pipeline.venues.alpaca.broker import AlpacaBroker
from quant_pipeline.venues.alpaca.market_data import AlpacaMarketData
from quant_pipeline.venues.factory import VenueConfig, _limiters, connect
from quant_pipeline.venues.shared_limits import SharedLimiter
from quant_pipeline.venues.upbit.broker import UpbitBroker
from quant_pipeline.venues.upbit.clients import account_name
from quant_pipeline.venues.upbit.quotations import UpbitMarketData
from quant_pipeline_tests.venues.makers import ALPACA_KEY, ALPACA_SECRET, UPBIT_ACCESS, UPBIT_SECRET

ALPACA = VenueConfig(
    venue="alpaca",
    mode=Mode.SIMULATED,
    trading_url="http://127.0.0.1:8100",
    data_url="http://127.0.0.1:8100",
    key=ALPACA_KEY,
    secret=ALPACA_SECRET,
)
UPBIT = VenueConfig(
    venue="upbit",
    mode=Mode.SIMULATED,
    trading_url="http://127.0.0.1:8101",
    data_url="http://127.0.0.1:8101",
    key=UPBIT_ACCESS,
    secret=UPBIT_SECRET,
)
PAPER = replace(
    ALPACA,
    mode=Mode.PAPER,
    trading_url="https://paper-api.alpaca.markets",
    data_url="https://data.alpaca.markets",
)
LIVE = replace(PAPER, mode=Mode.LIVE, trading_url="https://api.alpaca.markets", live_account="010203ABCD")
UPBIT_LIVE = replace(
    UPBIT,
    mode=Mode.LIVE,
    trading_url="https://api.upbit.com",
    data_url="https://api.upbit.com",
    live_account=account_name(UPBIT_ACCESS),
)


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        (ALPACA, (AlpacaMarketData, AlpacaBroker)),
        (PAPER, (AlpacaMarketData, AlpacaBroker)),
        (LIVE, (AlpacaMarketData, AlpacaBroker)),
        (UPBIT, (UpbitMarketData, UpbitBroker)),
        (UPBIT_LIVE, (UpbitMarketData, UpbitBroker)),
    ],
)
def test_each_mode_has_its_clients(config: VenueConfig, kinds: tuple[type, type]) -> None:
    data, broker = connect(config)
    with closing(data), closing(broker):
        assert (type(data), type(broker)) == kinds


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (replace(ALPACA, trading_url=""), "never means the live exchange"),
        (replace(ALPACA, data_url=""), "never means the live exchange"),
        (replace(ALPACA, trading_url="https://api.alpaca.markets"), "this machine"),
        (replace(ALPACA, data_url="https://data.alpaca.markets"), "this machine"),
        (replace(UPBIT, trading_url="https://api.upbit.com"), "this machine"),
        (replace(ALPACA, live_account="010203ABCD"), "set mode 'live'"),
        (replace(ALPACA, key=""), "key is empty"),
        (replace(ALPACA, secret=""), "secret is empty"),
        (replace(UPBIT, key=""), "access key is empty"),
        (replace(UPBIT, secret=" "), "secret key is empty"),
        (replace(ALPACA, feed="opra"), "use one of iex"),
        (replace(ALPACA, adjustment="both"), "use one of raw"),
        (replace(ALPACA, timeout=(0.0, 1.0)), "positive"),
        (replace(UPBIT, timeout=(1.0, float("inf"))), "positive"),
        (replace(PAPER, trading_url="https://api.alpaca.markets"), "https://paper-api.alpaca.markets"),
        (replace(PAPER, trading_url="http://127.0.0.1:8100"), "https://paper-api.alpaca.markets"),
        (replace(PAPER, data_url="https://example.org"), "https://data.alpaca.markets"),
        (replace(UPBIT, mode=Mode.PAPER), "no paper environment"),
        (replace(LIVE, live_account=None), "without live_account"),
        (replace(LIVE, live_account=" "), "without live_account"),
        (replace(LIVE, trading_url="https://paper-api.alpaca.markets"), "https://api.alpaca.markets"),
        (replace(LIVE, trading_url="http://127.0.0.1:8100"), "https://api.alpaca.markets"),
        (replace(UPBIT_LIVE, live_account=None), "without live_account"),
        (replace(UPBIT_LIVE, live_account="upbit-000000000000"), account_name(UPBIT_ACCESS)),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_remedy(config: VenueConfig, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        connect(config)
    for secret in (ALPACA_SECRET, UPBIT_SECRET, UPBIT_ACCESS):
        assert secret not in str(caught.value)


def test_keys_are_not_shown_when_a_config_is_printed() -> None:
    for secret in (ALPACA_KEY, ALPACA_SECRET, UPBIT_ACCESS, UPBIT_SECRET):
        assert secret not in repr((ALPACA, UPBIT, UPBIT_LIVE))


@pytest.mark.parametrize("variable", ["APCA_API_BASE_URL", "UPBIT_BASE_URL"])
def test_addresses_in_the_environment_change_nothing(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "https://elsewhere.example.org")
    for config in (ALPACA, UPBIT):
        data, broker = connect(config)
        with closing(data), closing(broker):
            client = broker._client.get()
            base = client._base_url if config.venue == "alpaca" else client.base_url
            assert str(base).rstrip("/") == config.trading_url


def test_importing_the_factory_imports_none_of_the_clients() -> None:
    code = """
import sys
import quant_pipeline.venues.factory, quant_pipeline.venues.order_protocol
heavy = [name for name in ("alpaca", "pyupbit", "upbit", "httpx") if name in sys.modules]
sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_clients_of_one_account_share_their_budgets_and_clients_of_another_only_public_ones(tmp_path: Path) -> None:
    def names(config: VenueConfig) -> tuple[str, str]:
        data, broker = connect(replace(config, limits=tmp_path))
        with closing(data), closing(broker):
            trading, public = _limiters(replace(config, limits=tmp_path))
        assert isinstance(trading, SharedLimiter)
        assert isinstance(public, SharedLimiter)
        return trading._stem.name, public._stem.name

    for config in (UPBIT, ALPACA):
        ours, others = names(config), names(replace(config, key="ANOTHER-KEY"))
        assert ours == names(config)
        assert ours[0] != others[0]
        assert (ours[1] == others[1]) is (config.venue == "upbit")
        assert config.key not in "".join(ours)
