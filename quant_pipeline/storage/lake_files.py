"""Where lake objects lie: atomic writes, reads and deletes in a local folder or at an fsspec URL; knows no pointers."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any


class LakeFiles:
    """Objects under `root`, named by hash and suffix. A reader never sees half an object."""

    def __init__(self, root: str) -> None:
        """Store where the objects lie; `file://` URLs and plain paths are local folders."""
        self._local: Path | None = None
        self._remote: Any = None
        self._prefix = ""
        if "://" not in root or root.startswith("file://"):
            self._local = Path(root.removeprefix("file://")).expanduser().resolve()
        else:
            from fsspec.core import url_to_fs

            self._remote, self._prefix = url_to_fs(root)

    def size(self, key: str, suffix: str) -> int | None:
        """Length in bytes of an object, or None if there is none."""
        try:
            if self._local is not None:
                return (self._local / _name(key, suffix)).stat().st_size
            return int(self._remote.info(self._path(key, suffix))["size"])
        except FileNotFoundError:
            return None

    def read(self, key: str, suffix: str) -> bytes:
        """The object's bytes.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if self._local is not None:
            return (self._local / _name(key, suffix)).read_bytes()
        data: bytes = self._remote.cat_file(self._path(key, suffix))
        return data

    def write(self, key: str, suffix: str, data: bytes) -> None:
        """Write the object as a whole: beside its place and renamed locally, one request elsewhere."""
        if self._local is None:
            self._remote.pipe_file(self._path(key, suffix), data)
            return
        place = self._local / _name(key, suffix)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f"{place.name}.{uuid.uuid4().hex}.tmp")
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)

    def delete(self, key: str, suffix: str) -> None:
        """Remove the object; one that is gone already is no error."""
        if self._local is not None:
            (self._local / _name(key, suffix)).unlink(missing_ok=True)
        elif self._remote.exists(self._path(key, suffix)):
            self._remote.rm_file(self._path(key, suffix))

    def _path(self, key: str, suffix: str) -> str:
        return f"{self._prefix.rstrip('/')}/{_name(key, suffix)}"


def _name(key: str, suffix: str) -> str:
    # Two characters of fan-out keep folders small.
    return f"objects/{key[:2]}/{key}.{suffix}"
