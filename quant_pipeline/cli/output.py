"""How commands speak: results on stdout as a table or as JSON, everything else on stderr. No content of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console

_PLAIN_WIDTH = 160


class OnProgress(Protocol):
    """Told what is being done, how much is done, and how much there is, if that is news."""

    def __call__(self, text: str, done: float, new_total: float | None = None, /) -> None:
        """Show it."""


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


@contextmanager
def progress(what: str, *, total: float | None = None) -> Iterator[OnProgress]:
    """A bar on stderr for the length of a block; where that is no terminal, a line when something new begins.

    Yields a function that takes what is being done, how much is done, and (if it changed) how much there is.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = notes()
    columns = (TextColumn("{task.fields[what]}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=total, what=what)
        said = ""

        def update(text: str, done: float, new_total: float | None = None) -> None:
            nonlocal said
            bars.update(task, description=text, completed=done, total=new_total if new_total is not None else total)
            if not console.is_terminal and text != said:
                console.print(f"{what}: {text}", markup=False)
            said = text

        yield update


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
