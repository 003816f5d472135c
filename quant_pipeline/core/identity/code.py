"""The identity of the code: a hash over the sources that decide what a number comes out as.

Importing this module must stay cheap and must not import numba: the numba cache folder is named by this hash.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from quant_pipeline.core.identity.content import combine_hashes

_PACKAGE = "quant_pipeline.core"


@cache
def code_hash(*parts: str) -> str:
    """SHA-256 (hex) over the Python sources of `quant_pipeline.core`, read once per process.

    Names are relative and sorted, line ends are normalised, so checkouts on different systems agree.

    Args:
        parts: modules or sub-packages to restrict it to, e.g. `"indicators"`, `"anchor"`; none means all of core.

    Raises:
        ValueError: a part does not exist.
    """
    sources = _sources(files(_PACKAGE), "")
    chosen = {name: text for name, text in sources.items() if not parts or any(_in_part(name, p) for p in parts)}
    for part in parts:
        if not any(_in_part(name, part) for name in chosen):
            msg = f"{_PACKAGE} has no module or package {part!r}"
            raise ValueError(msg)
    return combine_hashes(*(item for name in sorted(chosen) for item in (name, chosen[name])))


def _in_part(name: str, part: str) -> bool:
    return name == f"{part}.py" or name.startswith(f"{part}/")


def _sources(folder: Traversable, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found.update(_sources(entry, f"{prefix}{entry.name}/"))
        elif entry.name.endswith(".py"):
            found[f"{prefix}{entry.name}"] = entry.read_text(encoding="utf-8").replace("\r\n", "\n")
    return found
