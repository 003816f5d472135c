"""Writing a file whole or not at all: readers see the old one or the new one. What is in it is the caller's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_MODE = 0o666


@contextmanager
def whole_file(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A file to write into, beside `path`, and a function that says that it is to be kept.

    At the end of the block it takes the place of `path` if it is to be kept; otherwise, and after an error, nothing is
    left of it.
    """
    wanted = False

    def keep() -> None:
        nonlocal wanted
        wanted = True

    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, keep
            file.flush()
            os.fsync(file.fileno())
        if wanted:
            part.chmod(_MODE & ~_umask())  # temporary files are private, results are like any other file
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
