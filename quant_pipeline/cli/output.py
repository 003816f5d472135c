"""How commands speak: results on stdout as a table or as JSON, everything else on stderr. No content of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from rich.console import Console

_PLAIN_WIDTH = 160


def results() -> Console:
    """Where tables go: stdout. Where that is no terminal, lines are wide enough not to be folded."""
    return _console(sys.stdout)


def notes() -> Console:
    """Where progress, warnings and errors go: stderr."""
    return _console(sys.stderr)


def show(content: object, table: Callable[[Console], None], *, as_json: bool) -> None:
    """Print a result: `content` as one JSON document, or what `table` makes of it."""
    if as_json:
        write_json(content)
    else:
        table(results())


def write_json(content: object) -> None:
    """One JSON document on stdout; times and dates in ISO 8601, exact numbers as text."""
    sys.stdout.write(json.dumps(content, indent=2, default=_plain) + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """A sentence on stderr."""
    sys.stderr.write(f"quant: {text}\n")


def _console(file: TextIO) -> Console:
    return Console(file=file, width=None if file.isatty() else _PLAIN_WIDTH, soft_wrap=False, highlight=False)


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    msg = f"{type(value).__name__} {value!r} cannot be written as JSON"
    raise TypeError(msg)
