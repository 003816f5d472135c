"""Which files a folder import looks at."""

from __future__ import annotations

from pathlib import Path

from quant_pipeline.importers.folders import expand
from quant_pipeline_tests.importers.price_files import write


def test_folders_give_price_files_by_name_and_leave_out_the_rest(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    kept = [write(tmp_path / name, "x") for name in ("A.csv", "b/C.csv.gz", "b/D.PARQUET", "b/e.zip")]
    for name in ("README.md", "b/notes.txt", "b/.f.csv", ".hidden/G.csv", "MANIFEST.json"):
        write(tmp_path / name, "x")
    assert expand([tmp_path]) == tuple(kept)


def test_named_files_are_kept_whatever_their_name_and_come_once(tmp_path: Path) -> None:
    odd, price = write(tmp_path / "prices.dat", "x"), write(tmp_path / "A.csv", "x")
    assert expand([price, odd, tmp_path, price]) == (price, odd)


def test_an_empty_folder_stays_to_be_reported(tmp_path: Path) -> None:
    assert expand([tmp_path]) == (tmp_path,)
