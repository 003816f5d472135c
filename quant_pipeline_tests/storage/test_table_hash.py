"""The hash of a table: equal for equal rows however they are laid out, different for any other difference."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.storage.table_hash import canonical_table, table_hash

_AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _table() -> pa.Table:
    return pa.table(
        {
            "symbol": ["A", None, "", "Bé", "A"],
            "ts": pa.array([_AT, None, _AT, _AT + timedelta(microseconds=1), _AT], pa.timestamp("us", "UTC")),
            "x": [1.5, float("nan"), None, -0.0, 2.5],
            "n": pa.array([1, 2, None, 4, 5], pa.int64()),
            "ok": [True, None, False, True, False],
            "day": [date(2024, 5, 1), None, date(1969, 12, 31), date(2024, 5, 2), date(2024, 5, 3)],
            "d": pa.array([Decimal("1.10"), None, Decimal("-2.00"), Decimal(0), Decimal(7)], pa.decimal128(20, 2)),
            "q": [[1.0, 2.0], None, [], [None], [3.0]],
            "s": [{"a": 1, "b": "x"}, None, {"a": None, "b": None}, {"a": 2, "b": ""}, {"a": 3, "b": "y"}],
            "nothing": pa.nulls(5),
        }
    )


@st.composite
def _cuts(draw: st.DrawFn) -> list[int]:
    return sorted(draw(st.lists(st.integers(0, 5), max_size=4)))


@given(cuts=_cuts())
def test_chunking_does_not_matter(cuts: list[int]) -> None:
    table = _table()
    edges = [0, *cuts, 5]
    pieces = [table.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]
    assert table_hash(pa.concat_tables(pieces)) == table_hash(table)


def test_slice_hashes_like_a_fresh_table_of_its_rows() -> None:
    table = _table()
    fresh = pa.Table.from_pylist(table.slice(1, 3).to_pylist(), schema=table.schema)
    assert table_hash(table.slice(1, 3)) == table_hash(fresh)


def test_writer_metadata_and_encoding_do_not_matter() -> None:
    table = _table()
    expected = table_hash(table)
    annotated = table.replace_schema_metadata({"pandas": "{}", "writer": "9"})
    encoded = table.set_column(0, "symbol", table.column("symbol").dictionary_encode())
    wide = table.set_column(0, "symbol", table.column("symbol").cast(pa.large_string()))
    viewed = table.set_column(0, "symbol", table.column("symbol").cast(pa.string_view()))
    for other in (annotated, encoded, wide, viewed):
        assert table_hash(other) == expected
    for options in ({"compression": "zstd"}, {"use_dictionary": False, "row_group_size": 2, "store_schema": False}):
        sink = pa.BufferOutputStream()
        pq.write_table(table.drop_columns(["nothing"]), sink, **options)
        read = pq.read_table(pa.BufferReader(sink.getvalue()))
        assert table_hash(read) == table_hash(table.drop_columns(["nothing"]))


def test_unit_and_zone_of_times_do_not_matter() -> None:
    micro = pa.table({"ts": pa.array([_AT], pa.timestamp("us", "UTC"))})
    nano = pa.table({"ts": pa.array([pd.Timestamp(_AT)], pa.timestamp("ns", "Asia/Seoul"))})
    seconds = pa.table({"ts": pa.array([_AT.astimezone(timezone(timedelta(hours=9)))], pa.timestamp("s", "+09:00"))})
    assert table_hash(micro) == table_hash(nano) == table_hash(seconds)


def test_bytes_under_nulls_do_not_matter() -> None:
    validity = pa.py_buffer(b"\x05")
    one = pa.Array.from_buffers(pa.float64(), 3, [validity, pa.py_buffer(struct.pack("<3d", 1, 99, 3))])
    two = pa.Array.from_buffers(pa.float64(), 3, [validity, pa.py_buffer(struct.pack("<3d", 1, -7, 3))])
    assert (
        table_hash(pa.table({"x": one}))
        == table_hash(pa.table({"x": two}))
        == table_hash(pa.table({"x": [1.0, None, 3.0]}))
    )
    offsets = pa.py_buffer(struct.pack("<4i", 0, 1, 3, 4))
    text = pa.Array.from_buffers(pa.string(), 3, [validity, offsets, pa.py_buffer(b"aXXb")])
    assert table_hash(pa.table({"s": text})) == table_hash(pa.table({"s": ["a", None, "b"]}))


def test_every_nan_is_the_same_nan() -> None:
    odd = np.frombuffer(struct.pack("<Q", 0xFFF8000000000123), np.float64)
    assert np.isnan(odd[0])
    assert table_hash(pa.table({"x": odd})) == table_hash(pa.table({"x": [float("nan")]}))


@pytest.mark.parametrize("column", ["symbol", "ts", "x", "n", "ok", "day", "d", "q", "s"])
@pytest.mark.parametrize("row", range(5))
def test_any_other_value_gives_another_hash(column: str, row: int) -> None:
    table = _table()
    values = table.column(column).to_pylist()
    others = {repr(value): value for value in values if repr(value) != repr(values[row])}
    for other in others.values():
        changed = [*values[:row], other, *values[row + 1 :]]
        array = pa.array(changed, table.schema.field(column).type)
        position = table.schema.get_field_index(column)
        assert table_hash(table.set_column(position, column, array)) != table_hash(table)


def test_names_types_order_and_emptiness_belong_to_the_table() -> None:
    base = pa.table({"a": [1, 2], "b": [3, 4]})
    others = [
        pa.table({"a": [1, 2], "c": [3, 4]}),
        pa.table({"b": [3, 4], "a": [1, 2]}),
        pa.table({"a": [2, 1], "b": [4, 3]}),
        pa.table({"a": pa.array([1, 2], pa.int32()), "b": [3, 4]}),
        pa.table({"a": [1.0, 2.0], "b": [3, 4]}),
        pa.table({"a": [1, 2]}),
        base.slice(0, 0),
        pa.table({}),
    ]
    hashes = [table_hash(one) for one in (base, *others)]
    assert len(set(hashes)) == len(hashes)
    assert table_hash(pa.table({"s": ["ab", "c"]})) != table_hash(pa.table({"s": ["a", "bc"]}))
    assert table_hash(pa.table({"s": [None]})) != table_hash(pa.table({"s": [""]}))
    assert table_hash(pa.table({"x": [0.0]})) != table_hash(pa.table({"x": [-0.0]}))
    assert table_hash(pa.table({"x": [None, 1.0]})) != table_hash(pa.table({"x": [float("nan"), 1.0]}))


def test_hash_is_the_same_in_every_version() -> None:
    """Objects are found under this hash for years: a change of the form must be a decision, not an accident."""
    assert table_hash(_table()) == "91b641057be28a3aa8eaf3e6c41ede154f1a3c64353f98ce03b338f0b2a4d178"


@given(
    st.lists(st.tuples(st.text(), st.none() | st.floats(), st.none() | st.integers(-(2**63), 2**63 - 1)), max_size=8)
)
@settings(deadline=None)
def test_canonical_form_is_its_own_canonical_form(rows: list[tuple[str, float | None, int | None]]) -> None:
    table = pa.table(
        {
            "s": pa.array([row[0].encode("utf-8", "ignore").decode() for row in rows], pa.string()),
            "x": pa.array([row[1] for row in rows], pa.float64()),
            "n": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    canonical = canonical_table(table)
    assert canonical.schema == canonical_table(canonical).schema
    assert table_hash(canonical) == table_hash(table)


def test_times_without_zone_and_doubled_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'when' holds times without a zone"):
        table_hash(pa.table({"when": pa.array([datetime(2024, 5, 1)], pa.timestamp("us"))}))  # noqa: DTZ001
    with pytest.raises(ValueError, match=r"\['a'\] twice"):
        table_hash(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(TypeError, match="'t' has type time64"):
        table_hash(pa.table({"t": pa.array([1], pa.time64("us"))}))
