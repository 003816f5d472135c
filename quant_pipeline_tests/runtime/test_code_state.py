"""The fingerprint of sources notices what an import would read differently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quant_pipeline.runtime.code_state import code_state


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the import path, with a module and a package inside."""
    folder = tmp_path / "watched_package_of_a_test"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "module.py", "inner/__init__.py", "inner/deep.py"):
        (folder / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_nothing_changed_gives_the_same_state(package: Path) -> None:
    assert code_state([package.name]) == code_state([f"{package.name}.module", f"{package.name}.inner"])


@pytest.mark.parametrize("change", ["edit", "touch", "add", "remove"])
def test_any_change_below_the_top_package_is_noticed(package: Path, change: str) -> None:
    before = code_state([f"{package.name}.module"])
    deep = package / "inner" / "deep.py"
    if change == "edit":
        deep.write_text("x = 22\n")
    elif change == "touch":
        os.utime(deep, ns=(1, 1))
    elif change == "add":
        (package / "new.py").touch()
    else:
        deep.unlink()
    assert code_state([f"{package.name}.module"]) != before


def test_files_that_are_no_sources_do_not_count(package: Path) -> None:
    before = code_state([package.name])
    (package / "notes.txt").write_text("hello")
    assert code_state([package.name]) == before


def test_watched_files_count_also_when_they_appear(package: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    states = {code_state([package.name], [settings])}
    settings.write_text("a = 1")
    states.add(code_state([package.name], [settings]))
    settings.write_text("a = 12")
    states.add(code_state([package.name], [settings]))
    assert len(states) == 3


def test_a_module_that_does_not_exist_is_no_error(package: Path) -> None:
    assert code_state(["no_such_module_anywhere"]) == code_state([])
