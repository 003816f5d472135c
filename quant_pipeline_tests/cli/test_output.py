"""What goes to stdout and stderr, and in which form."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from quant_pipeline.cli.output import progress, show, write_json
from quant_pipeline.core.values import Mode


def test_json_keeps_exact_numbers_times_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)
    content = {"qty": Decimal("0.10"), "at": at, "day": date(2026, 3, 2), "mode": Mode.PAPER, "path": Path("a/b")}
    write_json(content | {"names": frozenset({"b", "a"}), "none": None})
    assert json.loads(capsys.readouterr().out) == {
        "qty": "0.10",
        "at": "2026-03-02T01:02:03+00:00",
        "day": "2026-03-02",
        "mode": "paper",
        "path": "a/b",
        "names": ["a", "b"],
        "none": None,
    }


def test_what_cannot_be_written_as_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        write_json({"it": object()})


def test_either_the_table_or_the_json_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show({"a": 1}, lambda console: console.print("the table"), as_json=False)
    show({"a": 1}, lambda console: console.print("the table"), as_json=True)
    printed = capsys.readouterr()
    assert printed.out == 'the table\n{\n  "a": 1\n}\n'
    assert printed.err == ""


def test_where_stderr_is_no_terminal_progress_is_a_line_for_each_new_thing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("importing", total=3) as shown:
        for name, done in (("one", 0.5), ("one", 1), ("two [x]", 2)):
            shown(name, done)
    printed = capsys.readouterr()
    assert printed.err == "importing: one\nimporting: two [x]\n"
    assert printed.out == ""
