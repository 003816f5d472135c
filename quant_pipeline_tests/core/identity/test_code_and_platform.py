"""Identity of the code and of the platform."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import quant_pipeline.core
from quant_pipeline.core.identity import code, code_hash, combine_hashes, fingerprint_hash, platform_fingerprint


def test_code_hash_covers_exactly_the_sources_of_core() -> None:
    root = Path(quant_pipeline.core.__path__[0])
    files = sorted((path.relative_to(root).as_posix(), path) for path in root.rglob("*.py"))
    parts = [item for name, path in files for item in (name, path.read_text(encoding="utf-8"))]
    assert "identity/content.py" in parts
    assert code_hash() == combine_hashes(*parts)


def test_parts_have_their_own_hash() -> None:
    assert len({code_hash(), code_hash("indicators"), code_hash("anchor"), code_hash("indicators", "anchor")}) == 4
    with pytest.raises(ValueError, match="has no module or package 'astrology'"):
        code_hash("astrology")


def test_sources_are_read_by_name_with_normal_line_ends(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "b.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    (tmp_path / "a.py").write_bytes(b"z = 3\n")
    (tmp_path / "notes.txt").write_bytes(b"not code")
    assert code._sources(tmp_path, "") == {"a.py": "z = 3\n", "pkg/b.py": "x = 1\ny = 2\n"}


def test_code_hash_is_there_before_numba_is_imported() -> None:
    """The numba cache folder is named by it, and numba reads its name when it is imported."""
    script = (
        "import sys; from quant_pipeline.core.identity import code_hash; code_hash(); "
        "print(','.join(sorted({'numba', 'llvmlite', 'pandas_ta', 'lightgbm'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_fingerprint_names_machine_features_and_libraries() -> None:
    found = platform_fingerprint()
    assert {"system", "machine", "python", "cpu_numpy", "cpu_llvm", "numpy", "pandas", "numba", "pandas-ta"} <= set(
        found
    )
    assert all(isinstance(value, str) and value for value in found.values())
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", found["numpy"])
    with pytest.raises(TypeError):
        found["numpy"] = "0"  # type: ignore[index]


def test_fingerprint_hash_ignores_order_and_sees_every_value() -> None:
    found = dict(platform_fingerprint())
    assert fingerprint_hash(dict(reversed(found.items()))) == fingerprint_hash(found)
    assert len({fingerprint_hash(found | {key: "other"}) for key in found}) == len(found)
