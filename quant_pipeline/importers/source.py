"""A price file on disk: what container it is in, its text or table, its first rows, and where a data row stands.

Recognised by content, not by name: gzip, zip with one csv inside, Parquet, plain text. What the columns mean does
not belong here.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from quant_pipeline.importers.errors import ImportRefused

PEEK_ROWS = 20


@dataclass(frozen=True, slots=True)
class Source:
    """An opened file: exactly one of `text` (CSV) and `table` (Parquet) is set. `member` is the name inside a zip."""

    path: Path
    member: str | None = None
    text: str | None = None
    table: pa.Table | None = None

    @property
    def unit(self) -> str:
        """What a place in this file is called."""
        return "line" if self.table is None else "row"

    def numbered(self) -> Iterator[tuple[int, list[str]]]:
        """Every non-empty row of a text file with the line it ends on, header included."""
        reader = csv.reader(io.StringIO(self.text, newline=""), strict=True)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
        except csv.Error as error:
            self.refuse(
                f"the text is not comma-separated values ({error})",
                remedy="Correct the quotes on that line.",
                line=reader.line_num,
            )

    def head(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """First row and the next few, as text."""
        if self.table is not None:
            return tuple(self.table.column_names), _table_head(self.table)
        rows: list[tuple[str, ...]] = []
        for _, fields in self.numbered():
            rows.append(tuple(fields))
            if len(rows) > PEEK_ROWS:
                break
        return (rows[0] if rows else ()), tuple(rows[1:])

    def data_rows(self, *, header: bool) -> Iterator[tuple[int, int, list[str]]]:
        """Every data row as text: its position from 0, its line (row number from 1 in Parquet), its fields."""
        if self.table is None:
            for position, (line, fields) in enumerate(self.numbered(), start=-1 if header else 0):
                if position >= 0:
                    yield position, line, fields
            return
        for position in range(self.table.num_rows):
            yield position, position + 1, _row_text(self.table, position)

    def locate(self, rows: Sequence[int], *, header: bool) -> list[tuple[int, list[str]]]:
        """Line number and fields of data rows, given by their position from 0."""
        if self.table is not None:
            return [(row + 1, _row_text(self.table, row)) for row in rows]
        wanted = set(rows)
        found: dict[int, tuple[int, list[str]]] = {}
        for position, line, fields in self.data_rows(header=header):
            if position in wanted:
                found[position] = line, fields
                if len(found) == len(wanted):
                    break
        return [found[row] for row in rows]

    def refuse(
        self, problem: str, *, remedy: str, line: int | None = None, column: str | None = None, value: str | None = None
    ) -> NoReturn:
        """Refuse this file, speaking of lines or rows as fits it."""
        raise ImportRefused(self.path, problem, remedy=remedy, line=line, column=column, value=value, unit=self.unit)


def open_source(path: Path) -> Source:
    """Open a file and unpack it in memory.

    Raises:
        ImportRefused: the file is missing, empty, damaged, or not text.
    """
    if path.is_dir():
        raise ImportRefused(
            path, "the folder holds no price file", remedy="Name a folder with CSV, zip or Parquet files."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImportRefused(
            path, f"the file cannot be read ({error.strerror})", remedy="Check the path and its permissions."
        ) from error
    member = None
    if data[:2] == b"\x1f\x8b":
        data = _gunzipped(path, data)
    elif data[:4] == b"PK\x03\x04":
        member, data = _unzipped(path, data)
    if data[:4] == b"PAR1":
        return Source(path, member=member, table=_parquet(path, data))
    return Source(path, member=member, text=_text(path, data))


def _gunzipped(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImportRefused(
            path, f"the gzip data is damaged or cut short ({error})", remedy="Fetch or write the file again."
        ) from error


def _unzipped(path: Path, data: bytes) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith((".csv", ".txt", ".parquet"))]
            if len(names) == 1:
                return names[0], archive.read(names[0])
    except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise ImportRefused(
            path, f"the zip archive is damaged or locked ({error})", remedy="Fetch or write the file again."
        ) from error
    raise ImportRefused(
        path,
        f"the archive holds {len(names)} csv files; one is expected",
        remedy="Unpack it and import the folder.",
        value=", ".join(names) or None,
    )


def _parquet(path: Path, data: bytes) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImportRefused(
            path, f"the Parquet file is damaged ({first})", remedy="Fetch or write the file again."
        ) from error


def _text(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ImportRefused(
            path,
            f"the text is not UTF-8 (byte 0x{data[error.start]:02x})",
            remedy="Save the file as UTF-8 (a Korean file is often CP949) and import it again.",
            line=line,
        ) from error
    if not text.strip():
        raise ImportRefused(path, "the file is empty", remedy="Give a file with a header and at least one row.")
    if "\x00" in text:
        raise ImportRefused(
            path,
            "the text holds NUL characters",
            remedy="Give a text or Parquet file; a spreadsheet must be exported as CSV first.",
            line=text.count("\n", 0, text.index("\x00")) + 1,
        )
    return text


def _row_text(table: pa.Table, row: int) -> list[str]:
    # Times as ISO text, so that one `sniff` and one exact path serve text and Parquet.
    values = [column[row].as_py() for column in table.columns]
    return [value.isoformat() if hasattr(value, "isoformat") else str(value) for value in values]


def _table_head(table: pa.Table) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(_row_text(table, row)) for row in range(min(table.num_rows, PEEK_ROWS)))
