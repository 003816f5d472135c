"""`quant settings`: every setting in force, without secrets. How settings are read belongs to `settings`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from quant_pipeline.cli.desk import load
from quant_pipeline.cli.options import ConfigOption, JsonOption
from quant_pipeline.cli.output import show

if TYPE_CHECKING:
    from rich.console import Console

    from quant_pipeline.settings import Settings

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


def settings_command(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print all settings in force, and their hash. Secrets are only said to be set or not."""
    settings = load(config)
    content = describe(settings)
    show(content, lambda console: _print(content, console), as_json=as_json)


def describe(settings: Settings) -> dict[str, object]:
    """All settings as plain values; of secrets only whether they are set."""
    secrets = {
        name: bool(value.get_secret_value()) if hasattr(value, "get_secret_value") else value
        for name, value in settings.secrets
    }
    return {
        "hash": settings.content_hash(),
        "root": str(settings.root),
        "home": str(settings.home),
        "mlruns": str(settings.mlruns),
        "lake_root": _redacted(settings.lake_root),
        "trading_hashes": {market.name: market.trading_hash() for market in settings.markets},
        "settings": _redacted(settings.content()),
        "secrets_set": secrets | {"postgres_password": bool(settings.postgres.password.get_secret_value())},
    }


def _redacted(value: object) -> object:
    """The value without user names and passwords inside of URLs."""
    if isinstance(value, Mapping):
        return {name: _redacted(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_redacted(inner) for inner in value]
    return _CREDENTIALS.sub("", value) if isinstance(value, str) else value


def _print(content: Mapping[str, object], console: Console) -> None:
    table = Table("setting", "value", title=f"Settings {str(content['hash'])[:12]}")
    for name, value in _flat(content):
        table.add_row(name, value)
    console.print(table)


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name and name != "settings" else str(key))
    elif isinstance(value, list):
        yield name, ", ".join(str(item) for item in value)
    else:
        yield name, "-" if value is None or value == "" else str(value)
