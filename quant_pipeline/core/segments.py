"""Series whose volume changes its meaning half way: values whose window crosses such a seam are not defined.

Where the seams are is said by the caller (a change of feed). What is computed belongs to indicators and features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

type FloatArray = npt.NDArray[np.float64]
type BoolArray = npt.NDArray[np.bool_]

SEAM = "seam"
"""Optional column of a bar frame: true at the first bar of another feed than the bar before."""


def within_segments(
    volume: FloatArray, seams: BoolArray | None, compute: Callable[[FloatArray], Mapping[str, FloatArray]]
) -> dict[str, FloatArray]:
    """The columns of `compute(volume)`, such that no value mixes volumes from both sides of a seam.

    Each part between seams is computed with the volume of that part alone, NaN elsewhere: a value that needs more is
    NaN, one that does not read volume is as it would be without a seam. A seam at the first position is none.
    """
    cuts = [] if seams is None else [int(at) for at in np.flatnonzero(seams) if at > 0]
    if not cuts:
        return dict(compute(volume))
    out: dict[str, FloatArray] = {}
    for begin, end in zip([0, *cuts], [*cuts, volume.size], strict=True):
        part = np.full(volume.shape, np.nan)
        part[begin:end] = volume[begin:end]
        for name, values in compute(part).items():
            out.setdefault(name, np.full(values.shape, np.nan))[begin:end] = values[begin:end]
    return out
