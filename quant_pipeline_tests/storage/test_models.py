"""Model versions: what may predict a session, by what was known when."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import LedgerConflictError, UnknownRecordError
from quant_pipeline.storage.models import (
    ModelEvent,
    ModelVersion,
    add_model_event,
    add_model_version,
    list_model_versions,
    model_events,
    model_version,
    resolve_model,
    resolve_models,
    set_mlflow_version,
)
from quant_pipeline_tests.storage.builders import AT, MARKET, later

_MAY = ModelVersion(
    id="may",
    market=MARKET,
    symbol="A",
    month=date(2024, 5, 1),
    name="ensemble",
    content_hash="c1",
    params_hash="p1",
    trained_from=date(2022, 5, 1),
    trained_to=date(2024, 4, 28),
    serves_from=date(2024, 5, 1),
    serves_to=date(2024, 6, 1),
    metrics={"direction": 0.53, "corr": 0.04},
    status="trained",
    mlflow_version=None,
    created_at=AT,
)
_SESSION = date(2024, 5, 15)


def _accepted(db: Database, minutes: float = 1, **changes: Any) -> ModelVersion:
    version = replace(_MAY, **changes)
    add_model_version(db, version)
    add_model_event(db, version.id, "accepted", later(minutes), "gate")
    return version


def _resolved(
    db: Database, serving: date = _SESSION, known: float | None = None, symbol: str = "A", **more: Any
) -> str:
    found = resolve_model(db, MARKET, symbol, serving, later(known) if known is not None else None, **more)
    return found.id if found is not None else "none"


def test_version_comes_back_exactly_with_its_history(database: Database) -> None:
    assert add_model_version(database, _MAY, actor="training", note="run 7")
    assert model_version(database, "may") == _MAY
    add_model_event(database, "may", "accepted", later(5), "gate", "dir 0.53")
    set_mlflow_version(database, "may", "12")
    assert model_version(database, "may") == replace(_MAY, status="accepted", mlflow_version="12")
    assert model_events(database, "may") == (
        ModelEvent("may", "trained", AT, "training", "run 7"),
        ModelEvent("may", "accepted", later(5), "gate", "dir 0.53"),
    )


def test_same_version_again_changes_nothing_and_another_under_its_id_is_refused(database: Database) -> None:
    _accepted(database)
    assert not add_model_version(database, replace(_MAY, created_at=later(9)))
    assert len(model_events(database, "may")) == 2
    with pytest.raises(LedgerConflictError, match="another content_hash"):
        add_model_version(database, replace(_MAY, content_hash="c2"))


def test_unknown_version_cannot_have_events(database: Database) -> None:
    with pytest.raises(UnknownRecordError, match="nobody"):
        add_model_event(database, "nobody", "accepted", AT, "gate")
    with pytest.raises(UnknownRecordError, match="nobody"):
        set_mlflow_version(database, "nobody", "1")
    assert model_version(database, "nobody") is None


def test_version_that_would_serve_what_it_was_trained_on_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="training must end before serving starts"):
        add_model_version(database, replace(_MAY, trained_to=date(2024, 5, 1)))
    with pytest.raises(IntegrityError, match="model_never_serves_what_it_saw"), database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO model_versions VALUES ('x', 'm', 's', '2024-05-01', 'n', '', '', '2024-01-01',"
                " '2024-05-01', '2024-05-01', '2024-06-01', '{}', 'trained', NULL, now())"
            )
        )


@pytest.mark.parametrize(
    ("serving", "expected"),
    [(date(2024, 4, 30), "none"), (date(2024, 5, 1), "may"), (date(2024, 5, 31), "may"), (date(2024, 6, 1), "none")],
)
def test_version_serves_from_its_start_to_before_its_end(database: Database, serving: date, expected: str) -> None:
    _accepted(database)
    assert _resolved(database, serving) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], "none"),
        (["accepted"], "may"),
        (["accepted", "promoted"], "may"),
        (["refused"], "none"),
        (["accepted", "rolled_back"], "none"),
        (["accepted", "rolled_back", "promoted"], "may"),
        (["accepted", "retired"], "none"),
    ],
)
def test_last_event_says_whether_a_version_may_predict(database: Database, events: list[str], expected: str) -> None:
    add_model_version(database, _MAY)
    for minutes, event in enumerate(events):
        add_model_event(database, "may", event, later(minutes), "gate")
    assert _resolved(database) == expected


def test_resolution_knows_only_what_was_known_then(database: Database) -> None:
    _accepted(database, 10)
    add_model_event(database, "may", "rolled_back", later(20), "me")
    add_model_event(database, "may", "promoted", later(30), "me")
    known = [_resolved(database, known=minutes) for minutes in (9.9, 10, 19, 20, 29, 30)]
    assert known == ["none", "may", "may", "none", "none", "may"]


def test_daily_update_takes_over_from_the_day_it_serves(database: Database) -> None:
    _accepted(database)
    _accepted(database, 2, id="update", trained_to=date(2024, 5, 14), serves_from=_SESSION)
    assert _resolved(database, date(2024, 5, 14)) == "may"
    assert _resolved(database, _SESSION) == "update"
    add_model_event(database, "update", "rolled_back", later(60), "me")
    assert _resolved(database, _SESSION) == "may"


def test_month_trained_again_later_does_not_displace_the_updates_of_that_month(database: Database) -> None:
    _accepted(database, 2, id="update", trained_to=date(2024, 5, 14), serves_from=_SESSION)
    _accepted(database, 50)
    assert _resolved(database, _SESSION) == "update"


def test_promoting_an_older_version_of_the_same_month_rolls_back(database: Database) -> None:
    _accepted(database, 1)
    _accepted(database, 5, id="may-2", content_hash="c2")
    assert _resolved(database) == "may-2"
    add_model_event(database, "may", "promoted", later(9), "me")
    assert _resolved(database) == "may"
    assert _resolved(database, known=8) == "may-2"


def test_symbols_names_and_markets_are_kept_apart(database: Database) -> None:
    _accepted(database)
    _accepted(database, id="deepar", name="deepar")
    _accepted(database, id="b", symbol="B")
    assert _resolved(database, name="ensemble") == "may"
    assert _resolved(database, name="deepar") == "deepar"
    assert _resolved(database, symbol="B") == "b"
    assert _resolved(database, symbol="C") == "none"
    assert resolve_model(database, "krw_crypto", "A", _SESSION) is None


def test_many_sessions_and_symbols_resolve_as_one_by_one(database: Database) -> None:
    for symbol in ("A", "B"):
        _accepted(database, 1, id=f"may-{symbol}", symbol=symbol)
    _accepted(database, 2, id="update", trained_to=date(2024, 5, 14), serves_from=_SESSION)
    june = {"month": date(2024, 6, 1), "serves_from": date(2024, 6, 1), "serves_to": date(2024, 7, 1)}
    _accepted(database, 3, id="june-A", **june)
    days = [date(2024, month, day) for month in (4, 5, 6, 7) for day in (1, 14, 15, 30)]
    together = resolve_models(database, MARKET, ["A", "B", "C"], days, later(60))
    single = {(day, symbol): _resolved(database, day, 60, symbol) for day in days for symbol in ("A", "B", "C")}
    assert {key: version.id for key, version in together.items()} == {k: v for k, v in single.items() if v != "none"}
    assert len(together) == 4 + 4 + 4
    assert resolve_models(database, MARKET, ["A"], []) == {}


def test_versions_are_listed_by_symbol_and_serving_start(database: Database) -> None:
    june = {"month": date(2024, 6, 1), "serves_from": date(2024, 6, 1), "serves_to": date(2024, 7, 1)}
    _accepted(database, id="june", **june)
    _accepted(database, id="b", symbol="B")
    _accepted(database)
    assert [one.id for one in list_model_versions(database, MARKET)] == ["may", "june", "b"]
    assert [one.id for one in list_model_versions(database, MARKET, symbol="A", month=date(2024, 6, 1))] == ["june"]
    assert list_model_versions(database, MARKET, name="deepar") == ()
