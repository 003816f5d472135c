"""Hyperparameters by the month they serve."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.hyperparameters import (
    Hyperparameters,
    get_hyperparameters,
    params_hash,
    put_hyperparameters,
)
from quant_pipeline_tests.storage.builders import AT, MARKET, later

_MAY = date(2024, 5, 1)
_FOUND = Hyperparameters(MARKET, "A", _MAY, {"rate": 0.05, "leaves": 20, "l2": 1e20}, "study-1", 40, 0.0123, AT)


def test_finding_comes_back_exactly_for_its_month_only(database: Database) -> None:
    assert put_hyperparameters(database, _FOUND) == params_hash(_FOUND.params)
    assert get_hyperparameters(database, MARKET, "A", _MAY) == _FOUND
    assert get_hyperparameters(database, MARKET, "A", date(2024, 6, 1)) is None
    assert get_hyperparameters(database, MARKET, "B", _MAY) is None


def test_newest_finding_is_in_force_and_the_old_one_was_known_before(database: Database) -> None:
    newer = replace(_FOUND, params={"rate": 0.01}, created_at=later(10))
    back = replace(_FOUND, created_at=later(20))
    for found in (_FOUND, newer, back):
        put_hyperparameters(database, found)
    assert get_hyperparameters(database, MARKET, "A", _MAY) == back
    assert get_hyperparameters(database, MARKET, "A", _MAY, known_at=later(19)) == newer
    assert get_hyperparameters(database, MARKET, "A", _MAY, known_at=later(9)) == _FOUND
    assert get_hyperparameters(database, MARKET, "A", _MAY, known_at=later(-1)) is None


def test_same_finding_again_is_kept_once(database: Database) -> None:
    put_hyperparameters(database, _FOUND)
    put_hyperparameters(database, replace(_FOUND, created_at=later(5)))
    assert get_hyperparameters(database, MARKET, "A", _MAY) == _FOUND
