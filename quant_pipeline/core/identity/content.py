"""Hashes of tables and of lists of hashes, independent of library versions, chunking and file formats.

The canonical form, column by column in the order of their names: the name and the row count, a letter for the kind,
then the values: `f` float64, `i` int64, `b` one byte, `t` int64 nanoseconds since 1970 UTC, `o` one tagged value after
the other (texts with their length, dates, decimals, nothing). Numbers are little-endian; every NaN is the same NaN,
-0.0 is 0.0. Row order counts, column order does not.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

type Columns = Mapping[str, Sequence[Any] | npt.NDArray[Any] | pd.Series]


@dataclass(frozen=True, slots=True)
class _Column:
    """One column in canonical form; the bytes of rows i..j are `data[offsets[i]:offsets[j]]`."""

    name: str
    kind: bytes
    data: bytes
    offsets: list[int]

    def head(self, size: int) -> bytes:
        """What stands before the values of `size` rows."""
        return _text(self.name) + struct.pack("<q", size) + self.kind


def content_hash(frame: pd.DataFrame | Columns, columns: Sequence[str] | None = None) -> str:
    """SHA-256 (hex) of the canonical form of a table.

    Args:
        frame: a pandas frame (its index is ignored) or named columns of equal length.
        columns: which columns; all by default.

    Raises:
        ValueError: a column is missing, doubled, longer than another, or has times without a zone.
        TypeError: a value has a type that has no canonical form.
    """
    return hashlib.sha256(canonical_bytes(frame, columns)).hexdigest()


def canonical_bytes(frame: pd.DataFrame | Columns, columns: Sequence[str] | None = None) -> bytes:
    """The canonical form itself (see the module); errors as `content_hash`."""
    prepared, size = _prepare(frame, columns)
    return b"".join(part for column in prepared for part in (column.head(size), column.data))


def content_hashes(
    frame: pd.DataFrame, by: Sequence[str], columns: Sequence[str] | None = None
) -> dict[tuple[Hashable, ...], str]:
    """`content_hash` of every group of rows with equal values in `by`, over the other columns.

    The result for a group equals `content_hash` of its rows alone, whatever else is in the frame.

    Args:
        frame: any frame; rows of a group keep their order and need not stand together.
        by: the key columns, e.g. `("session", "symbol")`.
        columns: which columns are hashed; all but `by` by default.
    """
    names = [name for name in frame.columns if name not in by] if columns is None else list(columns)
    found: dict[tuple[Hashable, ...], str] = {}
    if frame.empty:
        return found
    grouped = frame.groupby(list(by), sort=True, observed=True)
    order = np.argsort(grouped.ngroup().to_numpy(), kind="stable")
    prepared, _ = _prepare(frame.iloc[order], names)
    sizes = grouped.size()
    heads = {count: [column.head(count) for column in prepared] for count in set(sizes.tolist())}
    begin = 0
    for key, count in zip(sizes.index.tolist(), sizes.tolist(), strict=True):
        end = begin + count
        values = [column.data[column.offsets[begin] : column.offsets[end]] for column in prepared]
        parts = (part for pair in zip(heads[count], values, strict=True) for part in pair)
        found[key if isinstance(key, tuple) else (key,)] = hashlib.sha256(b"".join(parts)).hexdigest()
        begin = end
    return found


def combine_hashes(*parts: str) -> str:
    """One SHA-256 (hex) over texts in the given order; no two lists of texts share an encoding."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_text(part))
    return digest.hexdigest()


def _prepare(frame: pd.DataFrame | Columns, columns: Sequence[str] | None) -> tuple[list[_Column], int]:
    names = list(frame.columns) if isinstance(frame, pd.DataFrame) else list(frame)
    if len(set(names)) != len(names):
        msg = f"columns {names} are not unique; a table with doubled names has no content hash"
        raise ValueError(msg)
    chosen = sorted(names if columns is None else columns)
    missing = [name for name in chosen if name not in names]
    if missing:
        msg = f"columns {', '.join(missing)} are not in the table; it has {', '.join(map(str, names))}"
        raise ValueError(msg)
    prepared = [_canonical(name, pd.Series(frame[name])) for name in chosen]
    sizes = {len(column.offsets) - 1 for column in prepared}
    if len(sizes) > 1:
        msg = f"columns have different lengths {sorted(sizes)}; a table needs equal ones"
        raise ValueError(msg)
    return prepared, sizes.pop() if sizes else 0


def _canonical(name: str, values: pd.Series) -> _Column:
    dtype = values.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        stamps = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
        return _fixed(name, b"t", stamps.astype(np.int64).astype("<i8"))
    if isinstance(dtype, np.dtype):
        if dtype.kind == "f":
            return _fixed(name, b"f", _canonical_floats(values.to_numpy(dtype=np.float64)))
        if dtype.kind == "i" or (dtype.kind == "u" and dtype.itemsize < 8):
            return _fixed(name, b"i", values.to_numpy(dtype=np.int64).astype("<i8"))
        if dtype.kind == "b":
            return _fixed(name, b"b", values.to_numpy(dtype=np.uint8))
        if dtype.kind == "M":
            msg = f"column {name} has times without a zone; localize it to UTC, or use dates for days"
            raise ValueError(msg)
    encoded = [_tagged(name, value) for value in values.astype(object).tolist()]
    return _Column(name, b"o", b"".join(encoded), [0, *itertools.accumulate(len(item) for item in encoded)])


def _fixed(name: str, kind: bytes, values: npt.NDArray[Any]) -> _Column:
    width = values.dtype.itemsize
    return _Column(name, kind, values.tobytes(), list(range(0, (values.size + 1) * width, width)))


def _canonical_floats(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8")


def _tagged(name: str, value: object) -> bytes:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return b"0"
    if isinstance(value, str):
        return b"s" + _text(value)
    if isinstance(value, bool | np.bool_):
        return b"b" + bytes([value])
    if isinstance(value, int | np.integer):
        return b"i" + _text(str(int(value)))
    if isinstance(value, float | np.floating):
        return b"f" + struct.pack("<d", float(value) + 0.0)
    if isinstance(value, Decimal):
        return b"n" + _text(_plain(value))
    if isinstance(value, datetime):
        stamp = pd.Timestamp(value)
        if stamp.tzinfo is None:
            msg = f"column {name} holds {value} without a time zone; make it aware (UTC)"
            raise ValueError(msg)
        return b"t" + struct.pack("<q", stamp.tz_convert("UTC").as_unit("ns").value)
    if isinstance(value, date):
        return b"d" + struct.pack("<q", value.toordinal())
    msg = f"column {name} holds {value!r} of type {type(value).__name__}, which has no canonical form"
    raise TypeError(msg)


def _plain(value: Decimal) -> str:
    """The shortest plain notation: 1.50 and 1.5 are the same number."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8")
    return struct.pack("<q", len(encoded)) + encoded
