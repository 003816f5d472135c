"""The fast and the exact path give the same rows, whatever is written into a file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.importers.columns import FastPathFailed, convert, read_columns
from quant_pipeline.importers.exact import sort_rows
from quant_pipeline.importers.formats.plain import PLAIN
from quant_pipeline.importers.source import Source
from quant_pipeline.importers.values import Peek
from quant_pipeline_tests.importers.price_files import HEADER

_NAMES = tuple(HEADER.split(","))
_LAYOUT = PLAIN.layout(Peek("x.csv", None, _NAMES, (), krw=False))

_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.sampled_from(
        ["", " 1.5", "1.", ".5", "+7", "1e5", "1E-5", "nan", "inf", "0x10", "1,5", '"2"', "--1", "1.2.3", "abc"]
    ),
)
_stamps = st.one_of(
    st.integers(0, 10**6).map(lambda n: str(np.datetime64("2020-01-01T00:00") + n).replace("T", " ")),
    st.sampled_from(["2020-13-01 00:00", "2020-01-01", "", " 2020-01-01 00:05", "2020-02-30 00:00", "junk"]),
)
_rows = st.lists(st.tuples(_stamps, *[_numbers] * 5), min_size=1, max_size=8)


@settings(max_examples=300)
@given(_rows, st.sampled_from(["\n", "\r\n"]), st.sampled_from([(), ("",), ("", "")]))
def test_fast_path_succeeds_exactly_when_the_exact_path_finds_no_fault(
    rows: list[tuple[str, ...]], line_end: str, blank: tuple[str, ...]
) -> None:
    lines = [HEADER, *blank, *(",".join(row) for row in rows), ""]
    source = Source(Path("x.csv"), text=line_end.join(lines))
    split = sort_rows(source, _LAYOUT, _NAMES)
    try:
        fast = convert(read_columns(source, _LAYOUT, len(_NAMES)), _LAYOUT)
    except FastPathFailed:
        fast = None
    assert (fast is not None) == (not split.bad)
    assert len(split.bad) + len(split.columns.row) == len(rows)
    with contextlib.suppress(FastPathFailed):
        exact = convert(split.columns, _LAYOUT) if len(split.columns.row) else None
        if fast is not None and exact is not None:
            assert fast.clock == exact.clock
            assert fast.frame.equals(exact.frame)


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), min_size=1, max_size=20))
def test_numbers_are_read_as_python_reads_them(values: list[float]) -> None:
    text = "\n".join([HEADER, *(f"2020-01-01 00:00,{v!r},{v!r},{v!r},{v!r},{v!r}" for v in values)])
    frame = convert(read_columns(Source(Path("x.csv"), text=text), _LAYOUT, 6), _LAYOUT).frame
    assert frame["open"].tolist() == values
