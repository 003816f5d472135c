"""Random numbers that can be read at any position: streams named by (seed, parts). No prices."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from quant_pipeline.exchange.bars.columns import Floats

_WORDS_PER_COUNTER = 4
"""Philox4x64 makes four 64-bit words of one counter."""

_UNIT = 1.0 / 65536.0
_GAUSS = float(np.sqrt(3.0))


def stream(seed: int, *parts: str) -> np.random.Philox:
    """The bit generator of the stream called `parts` under `seed`; equal names give equal streams in every process."""
    name = "\x1f".join((str(seed), *parts)).encode()
    return np.random.Philox(key=int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big"))


def normals(seed: int, count: int, *parts: str) -> Floats:
    """The first `count` standard normals of a stream; a longer call begins with the same numbers."""
    return np.random.Generator(stream(seed, *parts)).standard_normal(count)


def words(seed: int, first: int, count: int, *parts: str) -> npt.NDArray[np.uint64]:
    """The words [first, first + count) of a stream, without making those before. `first` is a multiple of 4."""
    source = stream(seed, *parts)
    source.advance(first // _WORDS_PER_COUNTER)
    return source.random_raw(count)


def quarters(block: npt.NDArray[np.uint64]) -> Floats:
    """Each 64-bit word as four numbers in [0, 1): shape `block.shape` becomes (4, *block.shape)."""
    shifts = np.array([0, 16, 32, 48], np.uint64).reshape((4,) + (1,) * block.ndim)
    parts: Floats = ((block[None, ...] >> shifts) & np.uint64(0xFFFF)).astype(np.float64) * _UNIT
    return parts


def bell(block: npt.NDArray[np.uint64]) -> Floats:
    """One number of mean 0, variance 1 and nearly normal shape per word: a sum of four uniforms.

    Integer arithmetic and one addition each: no log or cosine, whose last bit differs between processors.
    """
    a, b, c, d = quarters(block)
    steps: Floats = (a + b + c + d - 2.0) * _GAUSS
    return steps
