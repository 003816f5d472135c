"""The one settings object, and the sections that belong to no market. Reading them from files belongs to `load.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, model_validator

from quant_pipeline.core.values import Mode
from quant_pipeline.settings.market import MarketSettings
from quant_pipeline.settings.section import Section, content_hash

Port = Annotated[int, Field(ge=1, le=65535)]


class Ports(Section):
    """Loopback ports; every one can be changed when it is taken."""

    api: Port = 5000
    mlflow: Port = 5001
    dagster: Port = 3001
    dagster_readonly: Port = 3002
    exchange_alpaca: Port = 8100
    exchange_upbit: Port = 8101
    postgres: Annotated[int, Field(ge=0, le=65535)] = 0


class PostgresSettings(Section):
    """An own server, or (host empty) the embedded one."""

    host: str = ""
    port: Port = 5432
    user: str = "quant"
    password: SecretStr = SecretStr("")
    database: str = "quant"


class ExchangeSettings(Section):
    """The simulated exchange: the seed of its prices, or the venue whose real prices a market has (a dry run).

    `live_us_equity` and `live_krw_crypto` are addresses of market data; empty means prices of our own.
    """

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    live_us_equity: str = ""
    live_krw_crypto: str = ""


class Secrets(Section):
    """Credentials; they come from the environment only, under the names of the original systems."""

    alpaca_api_key: SecretStr = SecretStr("")
    alpaca_api_secret: SecretStr = SecretStr("")
    alpaca_paper: bool = True
    upbit_open_api_access_key: SecretStr = SecretStr("")
    upbit_open_api_secret_key: SecretStr = SecretStr("")
    discord_webhook_url: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")


class Settings(Section):
    """The one settings object. `root` is the folder of `quant.toml`; `home` holds all state of this desk."""

    root: Path
    home: Path
    us_equity: MarketSettings
    krw_crypto: MarketSettings
    ports: Ports = Ports()
    postgres: PostgresSettings = PostgresSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    lake: str = ""
    mlruns: Path
    secrets: Secrets = Secrets()

    @property
    def markets(self) -> tuple[MarketSettings, ...]:
        """The enabled markets, in a fixed order."""
        return tuple(m for m in (self.us_equity, self.krw_crypto) if m.enabled)

    def market(self, name: str) -> MarketSettings:
        """The settings of the enabled market `name`.

        Raises:
            ValueError: unknown, or not enabled.
        """
        found = next((m for m in self.markets if m.name == name), None)
        if found is None:
            enabled = ", ".join(m.name for m in self.markets) or "none"
            msg = f"market {name!r} is unknown or not enabled (enabled: {enabled}); see markets in quant.toml"
            raise ValueError(msg)
        return found

    @property
    def lake_root(self) -> str:
        """Folder or fsspec URL of the lake."""
        return self.lake or str(self.home / "lake")

    def content(self) -> dict[str, Any]:
        """Everything but secrets and machine paths, as plain JSON values."""
        hidden: Any = {"root": True, "home": True, "mlruns": True, "secrets": True, "postgres": {"password"}}
        return self.model_dump(mode="json", exclude=hidden)

    def content_hash(self) -> str:
        """SHA-256 of `content`."""
        return content_hash(self.content())

    @model_validator(mode="after")
    def _paper_and_live_agree(self) -> Self:
        if self.us_equity.mode is Mode.LIVE and self.secrets.alpaca_paper:
            msg = (
                "markets.us_equity.mode is 'live' while ALPACA_PAPER is true (its default); "
                "set ALPACA_PAPER=false as well, or use mode 'paper'"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        taken: dict[int, str] = {}
        for name, port in self.ports.model_dump().items():
            if port and port in taken:
                msg = f"ports.{name} and ports.{taken[port]} are both {port}; give them different numbers"
                raise ValueError(msg)
            taken[port] = name
        return self
