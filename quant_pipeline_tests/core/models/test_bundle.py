from __future__ import annotations

import io
import json
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_pipeline.core.models.bundle import MANIFEST, BundleError, bundle_hash, pack, unpack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.trained import TrainedEnsemble
from quant_pipeline_tests.core.models.synthetic import DAILY, FEATURES, make_samples


@pytest.fixture(scope="module")
def ensemble() -> TrainedEnsemble:
    return train_ensemble(make_samples(260), FEATURES, DAILY)


@pytest.fixture(scope="module")
def data(ensemble: TrainedEnsemble) -> bytes:
    return pack(ensemble)


def rewritten(data: bytes, files: dict[str, bytes | None]) -> bytes:
    """The bundle with some files replaced, added, or (None) removed, as a plain zip tool would write it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, value in (content | files).items():
            if value is not None:
                archive.writestr(name, value)
    return buffer.getvalue()


def manifest(data: bytes) -> dict[str, object]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content: dict[str, object] = json.loads(archive.read(MANIFEST))
    return content


def test_what_was_packed_comes_back_equal(ensemble: TrainedEnsemble, data: bytes) -> None:
    assert unpack(data, bundle_hash(data)) == ensemble
    assert pack(unpack(data)) == data


def test_the_bundle_opens_with_any_zip_tool_and_holds_native_files(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["lgbm_1.txt", "lgbm_2.txt", "manifest.json", "xgb_1.ubj", "xgb_2.ubj"]
        assert archive.read("lgbm_1.txt").startswith(b"tree\n")
    assert manifest(data)["features"] == {"name": "seed8", "version": "1", "columns": list(FEATURES.columns)}


def test_another_bundle_than_the_one_asked_for_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=f"has hash {bundle_hash(data)}, but {'0' * 64} was asked for"):
        unpack(data, "0" * 64)


def test_a_changed_member_is_named(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"file xgb_1\.ubj has hash .* its manifest says"):
        unpack(rewritten(data, {"xgb_1.ubj": b"{}"}))


def test_a_missing_member_is_named(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"lacks the file lgbm_2\.txt of member lgbm_2"):
        unpack(rewritten(data, {"lgbm_2.txt": None}))


def test_an_added_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="not canonical"):
        unpack(rewritten(data, {"setup.py": b"import os"}))


def test_the_same_content_written_differently_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="not canonical"):
        unpack(rewritten(data, {}))


def test_a_bundle_without_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        unpack(rewritten(data, {MANIFEST: None}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "quant-ensemble/9"}, "has format 'quant-ensemble/9'"),
        ({"members": [{"name": "a"}]}, "damaged manifest"),
        ({"horizon": {"bars": 0, "interval": "1d"}}, "damaged manifest.*must be at least 1"),
        ({"params": 3}, "damaged manifest"),
        ({"clip": [1.0]}, "damaged manifest"),
        ({"unknown": 1}, "not canonical"),
    ],
)
def test_a_damaged_manifest_is_refused(data: bytes, change: dict[str, object], message: str) -> None:
    text = json.dumps(manifest(data) | change).encode()

    with pytest.raises(BundleError, match=message):
        unpack(rewritten(data, {MANIFEST: text}))


def test_a_manifest_that_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"damaged manifest\.json: JSONDecodeError"):
        unpack(rewritten(data, {MANIFEST: b"{"}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), tail=st.booleans())
def test_no_changed_byte_goes_unnoticed(data: bytes, position: float, flip: int, *, tail: bool) -> None:
    changed = bytearray(data)
    directory = 600 if tail else len(data)
    changed[len(data) - 1 - int(position * directory)] ^= flip

    with pytest.raises(BundleError):
        unpack(bytes(changed))


@given(length=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_bundle_is_refused(data: bytes, length: float) -> None:
    with pytest.raises(BundleError):
        unpack(data[: int(len(data) * length)])


def test_bytes_after_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        unpack(data + b"more")
