"""The identity of an Arrow table: one canonical form, and a hash of it that no writer or chunking changes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    type Bytes = npt.NDArray[np.uint8]

_FORM = b"quant_pipeline table 1"


def canonical_table(table: pa.Table) -> pa.Table:
    """The same rows in the one form in which tables are stored.

    No metadata; dictionaries decoded; large and view strings as plain strings; times as `timestamp[ns, UTC]`;
    a column is one chunk. Column and row order stay, they are part of the table.

    Raises:
        ValueError: a column name occurs twice, or a time has no zone.
    """
    import pyarrow as pa

    names = table.column_names
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        msg = f"table has the columns {doubled} twice; column names must be unique"
        raise ValueError(msg)
    arrays = []
    for name in names:
        column = table.column(name)
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(array, pa.ChunkedArray):  # pyarrow may keep several chunks of very long strings
            array = pa.concat_arrays(array.chunks)
        wanted = _canonical_type(array.type, name)
        arrays.append(array if array.type == wanted else array.cast(wanted))
    return pa.table(arrays, names=names)


def table_hash(table: pa.Table) -> str:
    """SHA-256 over names, types and values of the canonical form, in hexadecimal.

    Equal for equal rows however they were chunked, sliced, written or annotated; nulls count as nulls whatever bytes
    lie under them; a NaN is any NaN; null and NaN differ, 0.0 and -0.0 differ.
    """
    return canonical_hash(canonical_table(table))


def canonical_hash(canonical: pa.Table) -> str:
    """`table_hash` of a table that `canonical_table` made, without making it again."""
    digest = hashlib.sha256(_FORM)
    _feed(digest, str(canonical.num_rows).encode())
    for name in canonical.column_names:
        column = canonical.column(name)
        _feed(digest, name.encode())
        _feed(digest, _type_name(column.type).encode())
        for part in _parts(column.chunk(0) if column.num_chunks else _empty(column.type)):
            _feed(digest, part)
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, part: bytes | memoryview | Bytes) -> None:
    # Each part is preceded by its length, so that no two lists of parts give the same stream.
    view = memoryview(part)
    digest.update(view.nbytes.to_bytes(8, "little"))
    digest.update(view)


def _canonical_type(kind: pa.DataType, name: str) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _canonical_type(kind.value_type, name)
    if types.is_large_string(kind) or types.is_string_view(kind) or types.is_string(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_binary(kind):
        return pa.binary()
    if types.is_timestamp(kind):
        if kind.tz is None:
            msg = f"column {name!r} holds times without a zone ({kind}); make them UTC"
            raise ValueError(msg)
        return pa.timestamp("ns", "UTC")
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(pa.field("item", _canonical_type(kind.value_type, name)))
    if types.is_struct(kind):
        return pa.struct([pa.field(field.name, _canonical_type(field.type, name)) for field in kind])
    if _is_plain(kind) or types.is_null(kind):
        return kind
    msg = (
        f"column {name!r} has type {kind}, which has no canonical form here; use numbers, text, times, lists or structs"
    )
    raise TypeError(msg)


def _type_name(kind: pa.DataType) -> str:
    """The type without what is no part of it: names and nullability that writers give to the items of a list."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name!r}: {_type_name(field.type)}' for field in kind)}>"
    return str(kind)


def _is_plain(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_date(kind)
        or types.is_decimal128(kind)
    )


def _parts(array: pa.Array) -> list[Bytes]:
    """The bytes of an array of canonical type: which values are null, then the values with zeros under the nulls."""
    import pyarrow as pa

    valid = np.packbits(np.asarray(array.is_valid()), bitorder="little") if array.null_count else np.empty(0, np.uint8)
    kind = array.type
    if pa.types.is_null(kind):
        return [valid]
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return [valid, *_text(array)]
    if pa.types.is_list(kind):
        lengths = np.asarray(array.value_lengths().fill_null(0)).astype("<i8")
        return [valid, lengths.view(np.uint8), *_parts(array.flatten())]
    if pa.types.is_struct(kind):
        return [valid, *(part for field in array.flatten() for part in _parts(field))]
    if pa.types.is_decimal128(kind):
        return [valid, *_text(array.cast(pa.string()))]
    return [valid, _numbers(array)]


def _numbers(array: pa.Array) -> Bytes:
    import pyarrow as pa

    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        array = array.cast(pa.int64())
    elif pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    if array.null_count:
        array = array.fill_null(False) if pa.types.is_boolean(kind) else array.fill_null(0)  # noqa: FBT003
    values = array.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f" and np.isnan(values).any():
        values = np.where(np.isnan(values), np.array(np.nan, dtype=values.dtype), values)
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8)


def _text(array: pa.Array) -> list[Bytes]:
    import pyarrow as pa

    filled = array
    if array.null_count:
        filled = array.fill_null("" if pa.types.is_string(array.type) else b"")
    if len(filled) == 0:
        return [np.empty(0, np.uint8), np.empty(0, np.uint8)]
    _, offsets_buffer, data = filled.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    content = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.empty(0, np.uint8)
    return [np.diff(offsets).astype("<i8").view(np.uint8), content]


def _empty(kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.array([], kind)
