"""`python -m quant_pipeline.exchange`: the simulated exchange as a process. Options only, no behaviour."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from pathlib import Path

from quant_pipeline.exchange.config import CREDENTIALS, ExchangeConfig, config_from_dict
from quant_pipeline.exchange.server import serve


def main(arguments: list[str]) -> int:
    """Serve until stopped; exit code 2 with a sentence when an option cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m quant_pipeline.exchange", description="The simulated exchange.")
    parser.add_argument("--config", help="settings as JSON, or @FILE with JSON")
    for setting in dataclasses.fields(ExchangeConfig):
        if setting.name not in (*CREDENTIALS, "actions"):
            parser.add_argument(f"--{setting.name.replace('_', '-')}", default=None)
    given = vars(parser.parse_args(arguments))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every question of a dry run
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        values = _values(given)
        serve(config_from_dict(values))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _values(given: dict[str, str | None]) -> dict[str, object]:
    """The settings of the JSON, overridden by the options; the keys of a dry run are in the environment."""
    text = given.pop("config") or "{}"
    values: dict[str, object] = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    kinds = {setting.name: setting.type for setting in dataclasses.fields(ExchangeConfig)}
    for name, value in given.items():
        if value is None:
            continue
        if kinds[name] == "int":
            values[name] = int(value)
        else:
            values[name] = value.split(",") if name.endswith("_symbols") else value
    if values.get("live_us_equity"):
        values.setdefault("live_alpaca_key", os.environ.get("ALPACA_API_KEY", ""))
        values.setdefault("live_alpaca_secret", os.environ.get("ALPACA_API_SECRET", ""))
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
