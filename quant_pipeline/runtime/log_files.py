"""Log files of child processes: keep them small, show their end. Our own structured logs are not made here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_LIMIT: Final = 20_000_000
_TAIL_BYTES: Final = 16_384


def rotate_log(path: Path, *, limit: int = _LIMIT) -> None:
    """Move a log larger than `limit` bytes aside (one older log is kept)."""
    if path.exists() and path.stat().st_size > limit:
        path.replace(path.with_name(path.name + ".1"))


def tail(path: Path, lines: int) -> str:
    """The last `lines` lines of a text file (at most 16 KiB of it); a note instead if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log was written)"
    return "\n".join(text.splitlines()[-lines:])
