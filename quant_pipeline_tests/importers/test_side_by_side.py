"""Which files are stored at the same time: those of different symbols are, those of one symbol never."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from quant_pipeline.importers import results
from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.results import ImportResult
from quant_pipeline.importers.store import _stored
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline_tests.importers.price_files import session_days, text, write

_LONG, _MOMENT = 60.0, 0.3


def _files(folder: Path, *names: str) -> list[tuple[Path, ParsedFile | ImportRefused]]:
    paths = [write(folder / name, text(session_days("2024-03-06", "2024-03-08"))) for name in names]
    return [(path, read_file(path)) for path in paths]


def _store(
    begun: dict[str, threading.Event], wait_for: dict[str, str], seen: dict[str, bool], patience: float
) -> Callable[[ParsedFile], ImportResult]:
    """A store that notes when it begins with a file, and whether the file it waits for began meanwhile."""

    def store(parsed: ParsedFile) -> ImportResult:
        begun[parsed.path.name].set()
        other = wait_for.get(parsed.path.name)
        if other is not None:
            seen[parsed.path.name] = begun[other].wait(patience)
        return results.stored(parsed)

    return store


def test_files_of_different_symbols_are_stored_side_by_side_and_told_in_order(tmp_path: Path) -> None:
    files = _files(tmp_path, "A.csv", "B.csv")
    begun, seen = {path.name: threading.Event() for path, _ in files}, dict[str, bool]()
    store = _store(begun, {"A.csv": "B.csv"}, seen, _LONG)
    assert [result.path.name for result in _stored(files, store, 2)] == ["A.csv", "B.csv"]
    assert seen == {"A.csv": True}


def test_a_second_file_of_a_symbol_waits_for_the_first(tmp_path: Path) -> None:
    files = _files(tmp_path, "A_1.csv", "B.csv", "A_2.csv")
    begun, seen = {path.name: threading.Event() for path, _ in files}, dict[str, bool]()
    store = _store(begun, {"A_1.csv": "A_2.csv"}, seen, _MOMENT)
    assert [result.path.name for result in _stored(files, store, 3)] == ["A_1.csv", "B.csv", "A_2.csv"]
    assert seen == {"A_1.csv": False}


def test_a_refused_file_keeps_its_place(tmp_path: Path) -> None:
    files = _files(tmp_path, "A.csv", "B.csv")
    files.insert(1, (tmp_path / "bad.csv", ImportRefused(tmp_path / "bad.csv", "it is bad", remedy="Mend it.")))
    told = [(one.path.name, one.outcome) for one in _stored(files, results.stored, 2)]
    assert told == [("A.csv", "stored"), ("bad.csv", "refused"), ("B.csv", "stored")]
