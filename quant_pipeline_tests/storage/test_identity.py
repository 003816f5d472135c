"""Settings, code and platform by hash."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import CorruptObjectError
from quant_pipeline.storage.identity import get_code, get_platform, get_settings, put_code, put_platform, put_settings

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz "), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(content=st.dictionaries(st.text("abcdé ", min_size=1), _JSON, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_settings_open_exactly_as_they_were_put(database: Database, content: dict) -> None:
    opened = get_settings(database, put_settings(database, content))
    assert json.dumps(opened, sort_keys=True) == json.dumps(content, sort_keys=True)  # 1 and 1.0 are not the same


def test_whole_floats_stay_floats(database: Database) -> None:
    opened = get_settings(database, put_settings(database, {"a": 1e20, "b": 300.0, "c": 1e-8}))
    assert [type(value) for value in (opened or {}).values()] == [float, float, float]


def test_order_of_keys_does_not_matter_and_values_do(database: Database) -> None:
    first = put_settings(database, {"a": 1, "b": {"x": 1, "y": 2}})
    assert put_settings(database, {"b": {"y": 2, "x": 1}, "a": 1}) == first
    assert put_settings(database, {"a": 1, "b": {"x": 1, "y": 3}}) != first


def test_what_is_not_json_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        put_settings(database, {"a": float("nan")})
    with pytest.raises(TypeError):
        put_settings(database, {"a": object()})


def test_settings_edited_by_hand_are_noticed(database: Database) -> None:
    key = put_settings(database, {"a": 1})
    with database.begin() as connection:
        connection.execute(text("UPDATE settings_versions SET content = json_build_object('a', 2)"))
    with pytest.raises(CorruptObjectError, match=key):
        get_settings(database, key)


def test_first_description_of_code_stays_and_unknown_hashes_are_none(database: Database) -> None:
    put_code(database, "abc", "v1")
    put_code(database, "abc", "v2")
    assert get_code(database, "abc") == "v1"
    assert (get_code(database, "x"), get_settings(database, "x"), get_platform(database, "x")) == (None, None, None)
    assert get_platform(database, put_platform(database, {"numpy": "2.2.6"})) == {"numpy": "2.2.6"}
