"""Checks of arrays at the door of the kernel, which itself checks nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_symbols(symbols: tuple[str, ...]) -> None:
    """Refuse symbols that are unsorted or doubled: their order decides ties and the order of sums.

    Raises:
        ValueError: the message names the first symbol out of place.
    """
    for before, after in pairwise(symbols):
        if not before < after:
            msg = f"symbols must be sorted and each named once, but {before!r} stands before {after!r}; sort them"
            raise ValueError(msg)


def fresh[T: np.generic](name: str, value: ArrayLike, dtype: type[T], shape: tuple[int, ...]) -> NDArray[T]:
    """A writable contiguous copy of `value` as `dtype`, exactly of `shape`.

    Raises:
        ValueError: another shape, or values that `dtype` cannot hold.
        TypeError: values of another kind, for example fractions where integers are needed.
    """
    given = np.asarray(value)
    if given.shape != shape:
        msg = f"{name} has shape {given.shape}, expected {shape}"
        raise ValueError(msg)
    if not np.can_cast(given.dtype, dtype, "same_kind"):
        msg = f"{name} holds {given.dtype}, expected {np.dtype(dtype)}; convert it deliberately"
        raise TypeError(msg)
    made = np.array(given, dtype=dtype, order="C", copy=True)
    if np.issubdtype(dtype, np.integer) and not np.array_equal(made, given):
        msg = f"{name} holds values outside the range of {np.dtype(dtype)}"
        raise ValueError(msg)
    return made


def check_members(name: str, values: NDArray[Any], allowed: tuple[int, ...]) -> None:
    """Refuse codes that are not in `allowed`.

    Raises:
        ValueError: the message names the first one and what is allowed.
    """
    strange = ~np.isin(values, allowed)
    if strange.any():
        msg = f"{name} holds {values[strange].flat[0]}, which is none of {', '.join(map(str, allowed))}"
        raise ValueError(msg)


def check_all(name: str, holds: NDArray[np.bool_], meaning: str) -> None:
    """Refuse values for which `holds` is false.

    Raises:
        ValueError: the message gives the position of the first one and the rule it breaks.
    """
    if not holds.all():
        where = tuple(int(part) for part in np.argwhere(~holds)[0])
        msg = f"{name} at position {where} breaks the rule: {meaning}"
        raise ValueError(msg)
