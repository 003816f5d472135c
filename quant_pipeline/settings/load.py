"""Reading the settings: `quant.toml`, then the environment on top. What a setting means is said in `model.py`.

Environment names: `QUANT__SECTION__NAME` for anything, and the names of the original systems: `ALPACA_*`, `UPBIT_*`,
`DISCORD_WEBHOOK_URL`, `SECRET_KEY`, `REDIS_URL`, `POSTGRES_*`, `RISK_*` and `AI_*` (the last two for all markets).
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from quant_pipeline.markets.market import MARKETS
from quant_pipeline.settings.defaults import default_market
from quant_pipeline.settings.model import Secrets, Settings
from quant_pipeline.settings.trading import AiSettings, RiskSettings

CONFIG_NAME = "quant.toml"
_POSTGRES_NAMES = {"POSTGRES_HOST": "host", "POSTGRES_PORT": "port", "POSTGRES_USER": "user"} | {
    "POSTGRES_PASSWORD": "password",
    "POSTGRES_DB": "database",
}


class SettingsError(ValueError):
    """The settings cannot be used; the message names each value, where it was set and what would be right."""


def load_settings(
    config: Path | None = None, *, environ: Mapping[str, str] | None = None, changes: Mapping[str, Any] | None = None
) -> Settings:
    """Read and validate the settings.

    Args:
        config: the TOML file; by default `$QUANT_CONFIG`, else `quant.toml` in this or a parent folder, else defaults.
        environ: the environment; by default the process's, over the `.env` beside the file.
        changes: nested values that win over everything (used by commands and tests).

    Raises:
        SettingsError: a file that is missing or not TOML, an unknown name, a value out of range.
    """
    process = dict(os.environ if environ is None else environ)
    path = _find_config(config, process)
    root = path.parent.resolve() if path is not None else Path.cwd()
    env = (
        {k: v for k, v in dotenv_values(root / ".env").items() if v is not None} | process
        if environ is None
        else process
    )
    values = _read_toml(path) if path is not None else {}
    if "secrets" in values or "password" in _section(values.get("postgres", {}), "postgres", str(path)):
        msg = f"{path}: secrets do not belong in a file that may be shared; set them in the environment or in .env"
        raise SettingsError(msg)
    for name in ("markets", "state", "ports", "postgres", "exchange"):
        _section(values.get(name, {}), name, str(path))
    for layer in (_original_names(env), _prefixed_names(env), dict(changes or {})):
        values = _merge(values, layer)
    return _validate(values, root=root, origin=str(path or "the environment"))


def _find_config(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = config or (Path(environ["QUANT_CONFIG"]) if environ.get("QUANT_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            msg = f"settings file {named} does not exist; name an existing file with --config or QUANT_CONFIG"
            raise SettingsError(msg)
        return named.resolve()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    return None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not valid TOML: {error}"
        raise SettingsError(msg) from error


def _original_names(environ: Mapping[str, str]) -> dict[str, Any]:
    """Values set under the names of the original systems. An empty value counts as not set."""
    secrets = {name: environ[name.upper()] for name in Secrets.model_fields if environ.get(name.upper())}
    postgres = {field: environ[name] for name, field in _POSTGRES_NAMES.items() if environ.get(name)}
    per_market: dict[str, dict[str, str]] = {}
    for prefix, section, model in (("RISK_", "risk", RiskSettings), ("AI_", "ai", AiSettings)):
        found = {f: environ[prefix + f.upper()] for f in model.model_fields if environ.get(prefix + f.upper())}
        _refuse_near_misses(environ, prefix, {prefix + f.upper() for f in model.model_fields})
        if found:
            per_market[section] = found
    layer: dict[str, Any] = {"secrets": secrets, "postgres": postgres}
    if per_market:
        layer["markets"] = {market.name: per_market for market in MARKETS}
    return {name: value for name, value in layer.items() if value}


def _refuse_near_misses(environ: Mapping[str, str], prefix: str, known: set[str]) -> None:
    """A mistyped limit must not be ignored; names that only share the prefix may belong to another program."""
    for name in sorted(environ):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if name.startswith(prefix) and name not in known and near:
            msg = f"{name} in the environment is not a setting; did you mean {near[0]}?"
            raise SettingsError(msg)


class _Prefixed(BaseSettings):
    """Reads `QUANT__A__B=...` into nested mappings; validation is done later by `Settings`."""

    model_config = SettingsConfigDict(env_prefix="QUANT__", env_nested_delimiter="__", extra="allow")
    markets: dict[str, dict[str, Any]] = {}
    ports: dict[str, Any] = {}
    postgres: dict[str, Any] = {}
    exchange: dict[str, Any] = {}
    state: dict[str, Any] = {}


def _prefixed_names(environ: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(_Prefixed)
    source.env_vars = {name.lower(): value for name, value in environ.items()}
    known = {f"QUANT__{name.upper()}__" for name in _Prefixed.model_fields}
    unknown = sorted(n for n in environ if n.startswith("QUANT__") and not any(n.startswith(k) for k in known))
    if unknown:
        msg = f"{unknown[0]} in the environment is not a setting; names start with one of {', '.join(sorted(known))}"
        raise SettingsError(msg)
    return {name: _lists_parsed(value) for name, value in source().items()}


def _lists_parsed(value: Any) -> Any:  # noqa: ANN401 - whatever the environment holds
    """Lists are written as JSON in the environment; everything else is left to validation."""
    if isinstance(value, Mapping):
        return {name: _lists_parsed(inner) for name, inner in value.items()}
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            msg = f"{value!r} in the environment is not a JSON list: {error}"
            raise SettingsError(msg) from error
    return value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; mappings are merged, everything else is replaced."""
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _validate(values: dict[str, Any], *, root: Path, origin: str) -> Settings:
    given = dict(values)
    markets = _section(given.pop("markets", {}), "markets", origin)
    state = _section(given.pop("state", {}), "state", origin)
    for name in markets:
        _section(markets[name], f"markets.{name}", origin)
    unknown = sorted(set(markets) - {market.name for market in MARKETS})
    if unknown:
        known = ", ".join(market.name for market in MARKETS)
        msg = f"{origin}: markets.{unknown[0]} is not a market; known: {known}"
        raise SettingsError(msg)
    misplaced = sorted(set(given) - {"ports", "postgres", "exchange", "secrets"})
    if misplaced:
        msg = f"{origin}: {misplaced[0]} is not a section; known: exchange, markets, ports, postgres, state"
        raise SettingsError(msg)
    strange = sorted(set(state) - {"home", "lake", "mlruns"})
    if strange:
        msg = f"{origin}: state.{strange[0]} is not a setting; known: home, lake, mlruns"
        raise SettingsError(msg)
    given |= {"root": root, "home": _folder(root, state.get("home") or ".quant")}
    lake = str(state.get("lake", ""))
    given["lake"] = lake if not lake or "://" in lake else str(_folder(root, lake))
    given["mlruns"] = _folder(root, state.get("mlruns") or "mlruns")
    for market in MARKETS:
        given[market.name] = _merge(default_market(market.name), markets.get(market.name, {}))
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_explain(error, origin)) from None


def _section(value: object, name: str, origin: str) -> dict[str, Any]:
    """A section must be a table of names and values."""
    if not isinstance(value, dict):
        msg = f"{origin}: {name} = {value!r} is not a section; write [{name}] and its settings below it"
        raise SettingsError(msg)
    return value


def _folder(root: Path, name: object) -> Path:
    """A folder of the settings: relative ones lie beside the file, `~` and `$NAME` are understood."""
    folder = Path(os.path.expandvars(str(name))).expanduser()
    return folder if folder.is_absolute() else root / folder


def _explain(error: ValidationError, origin: str) -> str:
    """One sentence for each thing that is wrong: the setting, the value given, and what would be right."""
    lines = [f"the settings in {origin} cannot be used:"]
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        if where.split(".")[0] in {market.name for market in MARKETS}:
            where = f"markets.{where}"
        shown = "" if "secret" in where or "password" in where or not where else f" = {item['input']!r}"
        problem = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            problem = "is not a setting; check the spelling"
        if item["type"] == "value_error":
            shown = ""
        lines.append(f"  {where}{shown}: {problem}")
    return "\n".join(lines)
