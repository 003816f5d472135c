"""Bars that changed and changed back: the model of then serves again, and no update outlives what it continues."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from quant_pipeline.registry.names import ENSEMBLE
from quant_pipeline.registry.promotion import retire, roll_back, serve_again
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.models import (
    ModelVersion,
    add_model_event,
    add_model_version,
    model_events,
    model_version,
    resolve_model,
    serving_versions,
)

US = "us_equity"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARCH, NINTH, APRIL = date(2026, 3, 1), date(2026, 3, 9), date(2026, 4, 1)
_FIRST = ModelVersion(
    id="first",
    market=US,
    symbol="AAA",
    month=MARCH,
    name=ENSEMBLE,
    content_hash="c1",
    params_hash="p",
    trained_from=date(2025, 3, 3),
    trained_to=date(2026, 2, 27),
    serves_from=MARCH,
    serves_to=APRIL,
    metrics={},
    status="trained",
    mlflow_version=None,
    created_at=AT,
)


def added(db: Database, name: str, hours: int, event: str = "accepted", serves_from: date = MARCH) -> ModelVersion:
    """A version that passed the gate, or did not, so many hours after the first one was made."""
    at = AT + timedelta(hours=hours)
    add_model_version(db, replace(_FIRST, id=name, content_hash=name, serves_from=serves_from, created_at=at))
    add_model_event(db, name, event, at, "gate")
    return now(db, name)


def now(db: Database, name: str) -> ModelVersion:
    found = model_version(db, name)
    assert found is not None
    return found


def serving(db: Database, session: date = NINTH, known_at: datetime | None = None) -> str:
    found = resolve_model(db, US, "AAA", session, known_at, name=ENSEMBLE)
    return "none" if found is None else found.id


def test_a_version_that_is_made_again_serves_again_and_what_served_between_stays_known(database: Database) -> None:
    added(database, "first", 0)
    added(database, "second", 1)
    assert serving(database) == "second"

    serve_again(database, None, now(database, "first"), at=AT + timedelta(hours=2))

    assert serving(database) == "first"
    assert serving(database, known_at=AT + timedelta(minutes=30)) == "first"
    assert serving(database, known_at=AT + timedelta(minutes=90)) == "second"
    assert now(database, "first").status == "promoted"


def test_a_version_that_serves_already_has_no_new_event(database: Database) -> None:
    added(database, "first", 0)
    second = added(database, "second", 1)

    serve_again(database, None, second, at=AT + timedelta(hours=2))

    assert [event.event for event in model_events(database, "second")] == ["trained", "accepted"]


def test_neither_a_rejected_version_nor_one_that_a_person_took_back_serves_again(database: Database) -> None:
    added(database, "first", 0)
    added(database, "second", 1)
    roll_back(database, None, US, "AAA", at=AT + timedelta(hours=2), actor="me", note="looks wrong")
    rejected = added(database, "third", 3, "rejected")
    assert serving(database) == "first"

    for version in (now(database, "second"), rejected):
        serve_again(database, None, version, at=AT + timedelta(hours=4))

    assert serving(database) == "first"


def test_a_retired_update_leaves_the_session_to_its_ensemble_until_it_is_made_again(database: Database) -> None:
    added(database, "base", 0)
    update = added(database, "update", 1, serves_from=NINTH)
    assert serving(database) == "update"

    retire(database, None, update, at=AT + timedelta(hours=2), note="continues another ensemble")
    assert serving(database) == "base"
    assert now(database, "base").status == "promoted"

    serve_again(database, None, now(database, "update"), at=AT + timedelta(hours=3))
    assert serving(database) == "update"


def test_of_all_that_may_serve_a_session_the_one_that_does_comes_first(database: Database) -> None:
    added(database, "first", 0)
    added(database, "second", 1)
    added(database, "update", 2, serves_from=NINTH)
    added(database, "third", 3, "rejected")
    serve_again(database, None, now(database, "first"), at=AT + timedelta(hours=4))

    found = serving_versions(database, US, ["AAA"], NINTH, NINTH, name=ENSEMBLE)

    assert [version.id for version in found] == ["update", "first", "second"]
    assert [version.id for version in serving_versions(database, US, ["AAA"], MARCH, MARCH)] == ["first", "second"]
