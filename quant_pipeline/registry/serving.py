"""The model that predicts: resolved by session and by what was known, loaded from the lake, kept by content hash.

This is the path of every tick: it must not import mlflow. Nothing here ever asks for "the latest" model.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quant_pipeline.core.models.loaded import LoadedEnsemble, load_members
from quant_pipeline.registry.names import ENSEMBLE
from quant_pipeline.storage.models import ModelVersion, resolve_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version and its loaded ensemble."""

    version: ModelVersion
    loaded: LoadedEnsemble


class LoadedModels:
    """The ensembles used last, by content hash: safe to share between threads, lakes and markets of one process."""

    def __init__(self, capacity: int) -> None:
        """Store how many are kept (about half a megabyte each)."""
        self._capacity = capacity
        self._kept: OrderedDict[str, LoadedEnsemble] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def get(self, lake: Lake, content_hash: str) -> LoadedEnsemble:
        """Return the ensemble of that hash, loading it if need be.

        Raises:
            CorruptObjectError, UnknownRecordError: the lake's bytes are damaged or gone.
            BundleError: the bytes are no bundle, or one that the installed libraries cannot read.
        """
        with self._lock:
            if content_hash in self._kept:
                self._kept.move_to_end(content_hash)
                return self._kept[content_hash]
        loaded = load_members(lake.get_bytes(content_hash), content_hash)
        with self._lock:
            self._kept[content_hash] = loaded
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return loaded


_LOADED = LoadedModels(128)


def load_for(
    db: Database,
    lake: Lake,
    market: str,
    symbol: str,
    serving: date,
    known_at: datetime | None,
    *,
    cache: LoadedModels = _LOADED,
) -> ServedModel | None:
    """Return the model that predicts `symbol` in session `serving`, or None: then there is no opinion (`no_model`).

    With `known_at` (live, parity) only what had been accepted by then counts; None (walk-forward research) resolves
    by the served period alone.
    """
    return load_many(db, lake, market, [symbol], [serving], known_at, cache=cache).get((serving, symbol))


def load_many(
    db: Database,
    lake: Lake,
    market: str,
    symbols: Sequence[str],
    servings: Sequence[date],
    known_at: datetime | None,
    *,
    cache: LoadedModels = _LOADED,
) -> dict[tuple[date, str], ServedModel]:
    """`load_for` of many sessions and symbols with one query; what has no model is absent."""
    return load_versions(lake, resolve_many(db, market, symbols, servings, known_at), cache=cache)


def resolve_many(
    db: Database, market: str, symbols: Sequence[str], servings: Sequence[date], known_at: datetime | None
) -> dict[tuple[date, str], ModelVersion]:
    """Which version predicts each (session, symbol), by the rules of `load_for`; no bundle is opened."""
    return resolve_models(db, market, symbols, servings, known_at, name=ENSEMBLE)


def load_versions(
    lake: Lake, versions: Mapping[tuple[date, str], ModelVersion], *, cache: LoadedModels = _LOADED
) -> dict[tuple[date, str], ServedModel]:
    """Return the models of resolved versions, opening the bundles that are not loaded yet (5 ms each)."""
    return {key: ServedModel(version, cache.get(lake, version.content_hash)) for key, version in versions.items()}
