"""Which files an import looks at: the files named, and the price files below the folders named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq", ".zip")


def expand(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Files in the order given, folders replaced by the price files below them in the order of their names.

    A file that is named is kept whatever its name; inside folders hidden files and other suffixes are left out. A
    file comes once. A folder without any price file stays in the list, so that reading it says what is wrong.
    """
    return tuple(dict.fromkeys(file for path in paths for file in _files(path)))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.name.lower().endswith(SUFFIXES) and not _is_hidden(file.relative_to(path))
    )
    yield from found or [path]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
