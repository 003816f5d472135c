"""`python -m quant_pipeline.exchange`: the simulated exchange as a process. Options only, no behaviour."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path

from quant_pipeline.exchange.config import ExchangeConfig, config_from_dict
from quant_pipeline.exchange.server import serve


def main(arguments: list[str]) -> int:
    """Serve until stopped; exit code 2 with a sentence when an option cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m quant_pipeline.exchange", description="The simulated exchange.")
    parser.add_argument("--config", help="settings as JSON, or @FILE with JSON")
    for setting in dataclasses.fields(ExchangeConfig):
        if not setting.name.endswith(("secret", "secret_key")):
            parser.add_argument(f"--{setting.name.replace('_', '-')}", default=None)
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        values = _values(given)
        serve(config_from_dict(values))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _values(given: dict[str, str | None]) -> dict[str, object]:
    """The settings of the JSON, overridden by the options."""
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
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
