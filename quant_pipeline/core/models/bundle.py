"""The one file of an ensemble: a canonical zip of `manifest.json` and the members' native files. Never a pickle.

Equal ensembles give equal bytes (stored order, no compression, fixed times), so the sha256 of the file names the model.
Loading boosters belongs to `loaded`.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from dataclasses import asdict
from typing import Any

from quant_pipeline.core.models.params import EnsembleParams, LightGBMParams, XGBoostParams
from quant_pipeline.core.models.trained import FeatureSet, Horizon, TrainedEnsemble, TrainedMember, Window

FORMAT = "quant-ensemble/1"
MANIFEST = "manifest.json"
_SUFFIX = {"lightgbm": "txt", "xgboost": "ubj"}
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    zlib.error,
    struct.error,
)
"""What zipfile raises for damaged bytes, depending on which byte it is."""


class BundleError(ValueError):
    """The bytes are not an ensemble bundle, or not the one that was asked for; the message says what is wrong."""


def pack(ensemble: TrainedEnsemble) -> bytes:
    """Write an ensemble as canonical bytes."""
    content = _content(ensemble)
    files = {MANIFEST: json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode()}
    files |= {_file_name(member): member.data for member in ensemble.members}
    return _archive(files)


def bundle_hash(data: bytes) -> str:
    """Return the sha256 that names a bundle."""
    return hashlib.sha256(data).hexdigest()


def unpack(data: bytes, expected: str | None = None) -> TrainedEnsemble:
    """Read what `pack` wrote; `expected` is the hash under which the bundle was asked for.

    Raises BundleError if the hash differs, a file is missing, added or changed, or the bytes are not exactly what
    `pack` would write for their content.
    """
    if expected is not None and bundle_hash(data) != expected:
        msg = f"model bundle has hash {bundle_hash(data)}, but {expected} was asked for: the stored bytes were changed"
        raise BundleError(msg)
    files = _open(data)
    if MANIFEST not in files:
        msg = f"model bundle has no {MANIFEST} (it holds {sorted(files) or 'nothing'})"
        raise BundleError(msg)
    try:
        content = json.loads(files[MANIFEST])
        ensemble = _ensemble(content, files)
        canonical = pack(ensemble)
    except BundleError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        msg = f"model bundle has a damaged {MANIFEST}: {type(error).__name__} {error}"
        raise BundleError(msg) from error
    if canonical != data:
        msg = f"model bundle {bundle_hash(data)} is not canonical: something was added to it or rewritten"
        raise BundleError(msg)
    return ensemble


def member_hashes(ensemble: TrainedEnsemble) -> dict[str, str]:
    """Return the sha256 of each member's native file by member name."""
    return {member.name: hashlib.sha256(member.data).hexdigest() for member in ensemble.members}


def _file_name(member: TrainedMember) -> str:
    return f"{member.name}.{_SUFFIX[member.family]}"


def _archive(files: dict[str, bytes]) -> bytes:
    """Store files uncompressed: zlib's output differs between its versions, stored bytes do not."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _open(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except _UNREADABLE as error:
        msg = f"the bytes are not a model bundle, or were cut or changed: {error}"
        raise BundleError(msg) from error


def _content(ensemble: TrainedEnsemble) -> dict[str, Any]:
    hashes = member_hashes(ensemble)
    return {
        "format": FORMAT,
        "features": asdict(ensemble.features),
        "horizon": asdict(ensemble.horizon),
        "params": asdict(ensemble.params),
        "members": [
            {
                "name": m.name,
                "family": m.family,
                "seed": m.seed,
                "rounds": m.rounds,
                "group": m.group,
                "file": _file_name(m),
                "sha256": hashes[m.name],
            }
            for m in ensemble.members
        ],
        "clip": list(ensemble.clip),
        "residuals": list(ensemble.residuals),
        "windows": {name: asdict(window) for name, window in ensemble.windows.items()},
        "known_until": ensemble.known_until,
        "metrics": ensemble.metrics,
        "libraries": ensemble.libraries,
        "base": ensemble.base,
    }


def _member(entry: dict[str, Any], files: dict[str, bytes]) -> TrainedMember:
    name, data = entry["file"], files.get(entry["file"])
    if data is None:
        msg = f"model bundle lacks the file {name} of member {entry['name']}"
        raise BundleError(msg)
    found = hashlib.sha256(data).hexdigest()
    if found != entry["sha256"]:
        msg = f"model bundle: file {name} has hash {found}, its manifest says {entry['sha256']}"
        raise BundleError(msg)
    return TrainedMember(entry["name"], entry["family"], entry["seed"], entry["rounds"], entry["group"], data)


def _ensemble(content: dict[str, Any], files: dict[str, bytes]) -> TrainedEnsemble:
    if content["format"] != FORMAT:
        msg = f"model bundle has format {content['format']!r}, this version reads {FORMAT!r}"
        raise BundleError(msg)
    features, params = content["features"], content["params"]
    low, high = content["clip"]
    return TrainedEnsemble(
        features=FeatureSet(features["name"], features["version"], tuple(features["columns"])),
        horizon=Horizon(**content["horizon"]),
        params=EnsembleParams(
            lightgbm=LightGBMParams(**params["lightgbm"]),
            xgboost=XGBoostParams(**params["xgboost"]),
            early_stopping_rounds=params["early_stopping_rounds"],
            clip=(params["clip"][0], params["clip"][1]),
            spread_scale=params["spread_scale"],
        ),
        members=tuple(_member(entry, files) for entry in content["members"]),
        clip=(low, high),
        residuals=tuple(content["residuals"]),
        windows={name: Window(**window) for name, window in content["windows"].items()},
        known_until=content["known_until"],
        metrics=content["metrics"],
        libraries=content["libraries"],
        base=content["base"],
    )
