from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quant_pipeline.core.models.bundle import bundle_hash, member_hashes, pack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.loaded import predict
from quant_pipeline.core.models.trained import TrainedEnsemble
from quant_pipeline.core.models.update import fine_tune
from quant_pipeline.registry.errors import RegistryError
from quant_pipeline.registry.mlflow_registry import ModelRegistry
from quant_pipeline.registry.names import registered_name
from quant_pipeline.registry.promotion import champion, follow_alias, promote, roll_back
from quant_pipeline.registry.service import ModelSpan, register_ensemble
from quant_pipeline.registry.serving import LoadedModels, load_for, load_many
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import CorruptObjectError
from quant_pipeline.storage.lake import Lake
from quant_pipeline.storage.models import ModelVersion, list_model_versions, model_events
from quant_pipeline_tests.core.models.synthetic import COLUMNS, DAILY, FEATURES, make_samples

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
MARCH, APRIL, MAY = date(2024, 3, 1), date(2024, 4, 1), date(2024, 5, 1)

type Trained = Callable[..., TrainedEnsemble]


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Ensembles that pass the gate, by seed, each trained once."""
    made: dict[int, TrainedEnsemble] = {}

    def make(seed: int = 7) -> TrainedEnsemble:
        if seed not in made:
            made[seed] = train_ensemble(make_samples(300, seed=seed), FEATURES, DAILY)
        return made[seed]

    return make


@pytest.fixture
def lake(database: Database, tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), database)


@pytest.fixture
def symbol(request: pytest.FixtureRequest) -> str:
    """A symbol of the test's own: MLflow's database is shared, ours is not."""
    return "S" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


def span(symbol: str, month: date = MARCH, **changes: object) -> ModelSpan:
    following = (month.replace(day=28) + timedelta(days=4)).replace(day=1)
    plain = ModelSpan(
        "us_equity",
        symbol,
        month,
        date(2022, 1, 3),
        month - timedelta(days=1),
        month,
        following,
        {"features": "ab" * 32},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def events(db: Database, version: ModelVersion) -> list[tuple[str, str]]:
    return [(event.event, event.actor) for event in model_events(db, version.id)]


def rejected(ensemble: TrainedEnsemble) -> TrainedEnsemble:
    return replace(ensemble, metrics=ensemble.metrics | {"holdout_correlation": -0.1})


def test_an_accepted_ensemble_is_stored_logged_and_made_champion(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    ensemble = trained()

    version = register_ensemble(database, lake, registry, ensemble, span(symbol), at=AT)

    assert version.status == "promoted"
    assert events(database, version) == [("trained", "pipeline"), ("accepted", "pipeline"), ("promoted", "pipeline")]
    assert version.content_hash == bundle_hash(pack(ensemble))
    assert lake.get_bytes(version.content_hash) == pack(ensemble)
    assert version.metrics["member_hashes"] == member_hashes(ensemble)
    assert version.metrics["holdout_correlation"] == ensemble.metrics["holdout_correlation"]
    name = registered_name("us_equity", symbol)
    assert registry.aliases(name) == {"champion": version.mlflow_version}
    logged = registry.version(name, str(version.mlflow_version))
    assert logged.tags["content_hash"] == version.content_hash
    assert logged.tags["model_version"] == version.id
    assert logged.tags["gate"] == "accepted"
    assert logged.tags["serves"] == "2024-03-01..2024-04-01"


def test_registering_twice_changes_nothing(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    first = register_ensemble(database, lake, registry, trained(), span(symbol), at=AT)
    before = events(database, first)

    again = register_ensemble(database, lake, registry, trained(), span(symbol), at=AT + timedelta(hours=1))

    assert again == first
    assert events(database, first) == before
    assert len(list_model_versions(database, "us_equity", symbol=symbol)) == 1


def test_a_rejected_ensemble_is_kept_with_its_reasons_and_never_serves(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    version = register_ensemble(database, lake, registry, rejected(trained()), span(symbol), at=AT)

    assert version.status == "rejected"
    assert version.metrics["reasons"] == ["holdout_correlation -0.1000 is not above 0"]
    assert version.mlflow_version == "1"
    assert registry.aliases(registered_name("us_equity", symbol)) == {}
    assert load_for(database, lake, "us_equity", symbol, MARCH, None) is None
    assert champion(database, "us_equity", symbol) is None


def test_a_rejected_month_leaves_the_champion_of_the_month_before(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    good = register_ensemble(database, lake, registry, trained(), span(symbol), at=AT)
    register_ensemble(database, lake, registry, rejected(trained(8)), span(symbol, APRIL), at=AT)

    assert champion(database, "us_equity", symbol) == good
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": good.mlflow_version}
    assert load_for(database, lake, "us_equity", symbol, APRIL, None) is None


def test_each_session_gets_the_model_of_its_span_and_an_older_month_never_takes_the_alias(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    april = register_ensemble(database, lake, registry, trained(8), span(symbol, APRIL), at=AT)
    march = register_ensemble(database, lake, registry, trained(7), span(symbol, MARCH), at=AT + timedelta(days=1))

    found = load_many(database, lake, "us_equity", [symbol, "NONE"], [MARCH, date(2024, 3, 28), APRIL, MAY], None)

    assert {key: served.version.id for key, served in found.items()} == {
        (MARCH, symbol): march.id,
        (date(2024, 3, 28), symbol): march.id,
        (APRIL, symbol): april.id,
    }
    assert march.status == "accepted"
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": april.mlflow_version}


def test_what_was_not_yet_known_does_not_serve(database: Database, lake: Lake, trained: Trained, symbol: str) -> None:
    first = register_ensemble(database, lake, None, trained(7), span(symbol), at=AT)
    better = register_ensemble(database, lake, None, trained(8), span(symbol), at=AT + timedelta(days=2))

    def serving(known_at: datetime | None) -> str | None:
        served = load_for(database, lake, "us_equity", symbol, date(2024, 3, 20), known_at)
        return served.version.id if served is not None else None

    assert serving(AT - timedelta(seconds=1)) is None
    assert serving(AT + timedelta(days=1)) == first.id
    assert serving(AT + timedelta(days=3)) == better.id
    assert serving(None) == better.id


def test_the_served_model_predicts_what_was_trained(
    database: Database, lake: Lake, trained: Trained, symbol: str
) -> None:
    register_ensemble(database, lake, None, trained(), span(symbol), at=AT)

    served = load_for(database, lake, "us_equity", symbol, MARCH, AT)

    assert served is not None
    assert served.loaded.ensemble == trained()
    assert not predict(served.loaded, make_samples(3).x, columns=COLUMNS).too_few.any()


def test_an_ensemble_that_knows_the_span_it_would_serve_is_refused(
    database: Database, lake: Lake, trained: Trained, symbol: str
) -> None:
    ensemble = trained()
    assert ensemble.known_until == "2022-10-30T21:00:00Z"
    early = span(
        symbol,
        date(2022, 10, 1),
        trained_from=date(2022, 1, 3),
        trained_to=date(2022, 9, 30),
        serves_from=date(2022, 10, 30),
    )

    with pytest.raises(RegistryError, match="knows prices until 2022-10-30T21:00:00Z and would serve from 2022-10-30"):
        register_ensemble(database, lake, None, ensemble, early, at=AT)

    assert list_model_versions(database, "us_equity", symbol=symbol) == ()


@pytest.mark.parametrize("step", ["put_bytes", "add_model_version", "add_model_event", "_log", "set_mlflow_version"])
def test_an_attempt_that_broke_off_is_finished_by_the_next(
    database: Database,
    lake: Lake,
    registry: ModelRegistry,
    trained: Trained,
    symbol: str,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        place = "quant_pipeline.storage.lake.Lake" if step == "put_bytes" else "quant_pipeline.registry.service"
        patch.setattr(f"{place}.{step}", broken)
        with pytest.raises(ConnectionResetError):
            register_ensemble(database, lake, registry, trained(), span(symbol), at=AT)

    version = register_ensemble(database, lake, registry, trained(), span(symbol), at=AT)

    assert [event for event, _ in events(database, version)] == ["trained", "accepted", "promoted"]
    assert version.mlflow_version == "1"
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": "1"}


def test_a_registry_that_comes_later_catches_up(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    assert register_ensemble(database, lake, None, trained(), span(symbol), at=AT).mlflow_version is None

    version = register_ensemble(database, lake, registry, trained(), span(symbol), at=AT)

    assert version.mlflow_version == "1"
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": "1"}


def test_a_daily_update_serves_from_the_next_session_until_the_month_ends(
    database: Database, lake: Lake, registry: ModelRegistry, symbol: str
) -> None:
    samples = make_samples(400)
    base = train_ensemble(samples.take(np.arange(300)), FEATURES, DAILY)
    month = register_ensemble(database, lake, registry, base, span(symbol), at=AT)
    tuned = fine_tune(base, month.content_hash, samples.take(np.arange(300, 400)))
    tuned = replace(tuned, metrics=tuned.metrics | {"base_rmse": 1.0})
    later = span(symbol, trained_to=date(2024, 3, 11), serves_from=date(2024, 3, 12))

    update = register_ensemble(database, lake, registry, tuned, later, at=AT + timedelta(days=11))

    found = load_many(database, lake, "us_equity", [symbol], [date(2024, 3, 11), date(2024, 3, 12)], None)
    assert [found[key].version.id for key in sorted(found)] == [month.id, update.id]
    assert update.metrics["base"] == month.content_hash
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": update.mlflow_version}


def test_an_update_worse_than_its_base_is_rejected(
    database: Database, lake: Lake, trained: Trained, symbol: str
) -> None:
    worse = replace(trained(), base="ab" * 32, metrics=trained().metrics | {"base_rmse": 1e-6})

    version = register_ensemble(database, lake, None, worse, span(symbol), at=AT)

    assert version.status == "rejected"
    assert "above the base model's" in version.metrics["reasons"][0]


def test_rolling_back_returns_to_the_version_before_and_keeps_the_past(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    old = register_ensemble(database, lake, registry, trained(7), span(symbol), at=AT)
    new = register_ensemble(database, lake, registry, trained(8), span(symbol), at=AT + timedelta(days=1))
    later = AT + timedelta(days=2)

    following = roll_back(database, registry, "us_equity", symbol, at=later, actor="ann", note="strange predictions")

    assert following is not None
    assert following.id == old.id
    assert events(database, new)[-1] == ("rolled_back", "ann")
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": old.mlflow_version}
    now = load_for(database, lake, "us_equity", symbol, date(2024, 3, 20), later)
    then = load_for(database, lake, "us_equity", symbol, date(2024, 3, 20), later - timedelta(hours=1))
    assert now is not None
    assert then is not None
    assert (now.version.id, then.version.id) == (old.id, new.id)


def test_registering_again_does_not_undo_a_roll_back(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    register_ensemble(database, lake, registry, trained(), span(symbol), at=AT)
    roll_back(database, registry, "us_equity", symbol, at=AT, actor="ann", note="")

    again = register_ensemble(database, lake, registry, trained(), span(symbol), at=AT + timedelta(hours=1))

    assert again.status == "rolled_back"
    assert registry.aliases(registered_name("us_equity", symbol)) == {}
    with pytest.raises(RegistryError, match="has no champion to roll back"):
        roll_back(database, registry, "us_equity", symbol, at=AT, actor="ann", note="")


def test_a_person_may_promote_a_version_that_passed_the_gate_for_the_same_span(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    old = register_ensemble(database, lake, registry, trained(7), span(symbol), at=AT)
    register_ensemble(database, lake, registry, trained(8), span(symbol), at=AT + timedelta(days=1))

    promote(database, registry, old, at=AT + timedelta(days=2), actor="ann", note="steadier")

    found = champion(database, "us_equity", symbol)
    assert found is not None
    assert found.id == old.id
    assert registry.aliases(registered_name("us_equity", symbol)) == {"champion": old.mlflow_version}


def test_versions_that_failed_or_serve_another_span_cannot_be_promoted(
    database: Database, lake: Lake, trained: Trained, symbol: str
) -> None:
    failed = register_ensemble(database, lake, None, rejected(trained(9)), span(symbol, APRIL), at=AT)
    march = register_ensemble(database, lake, None, trained(7), span(symbol, MARCH), at=AT)
    register_ensemble(database, lake, None, trained(8), span(symbol, APRIL), at=AT)

    with pytest.raises(RegistryError, match=r"never passed the gate \(rejected\)"):
        promote(database, None, failed, at=AT, actor="ann")
    with pytest.raises(RegistryError, match="serves from 2024-03-01, the present champion from 2024-04-01"):
        promote(database, None, march, at=AT, actor="ann")


def test_an_alias_moved_by_hand_to_an_accepted_version_is_adopted(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str
) -> None:
    old = register_ensemble(database, lake, registry, trained(7), span(symbol), at=AT)
    register_ensemble(database, lake, registry, trained(8), span(symbol), at=AT + timedelta(days=1))
    registry.promote(registered_name("us_equity", symbol), str(old.mlflow_version))

    outcome = follow_alias(database, registry, "us_equity", symbol, at=AT + timedelta(days=2))

    assert outcome.outcome == "adopted"
    served = load_for(database, lake, "us_equity", symbol, MARCH, None)
    assert served is not None
    assert served.version.id == old.id
    assert events(database, old)[-1] == ("promoted", "mlflow")
    assert follow_alias(database, registry, "us_equity", symbol, at=AT + timedelta(days=3)).outcome == "unchanged"


@pytest.mark.parametrize(
    ("hand", "reason"),
    [("rejected", "it never passed the gate"), ("foreign", "is not one of ours"), ("removed", "the alias was removed")],
)
def test_an_alias_moved_by_hand_elsewhere_is_set_back_and_recorded(
    database: Database, lake: Lake, registry: ModelRegistry, trained: Trained, symbol: str, hand: str, reason: str
) -> None:
    name = registered_name("us_equity", symbol)
    good = register_ensemble(database, lake, registry, trained(7), span(symbol), at=AT)
    bad = register_ensemble(database, lake, registry, rejected(trained(8)), span(symbol), at=AT)
    if hand == "removed":
        registry.demote(name)
    elif hand == "rejected":
        registry.promote(name, str(bad.mlflow_version))
    else:
        bundle = pack(trained(9))
        foreign = registry.log_ensemble(
            name, bundle, experiment="quant.other", run_name="", metrics={}, params={}, tags={}
        )
        registry.promote(name, foreign.version)

    outcome = follow_alias(database, registry, "us_equity", symbol, at=AT + timedelta(days=2))

    assert outcome.outcome == "set_back"
    assert reason in outcome.reason
    assert registry.aliases(name) == {"champion": good.mlflow_version}
    last = model_events(database, good.id)[-1]
    assert (last.event, last.actor) == ("promoted", "registry")
    assert reason in last.note


def test_damaged_bytes_in_the_lake_are_not_served(
    database: Database, lake: Lake, trained: Trained, symbol: str, tmp_path: Path
) -> None:
    version = register_ensemble(database, lake, None, trained(), span(symbol), at=AT)
    stored = next(p for p in (tmp_path / "lake").rglob("*") if version.content_hash in p.name)
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")

    with pytest.raises(CorruptObjectError):
        load_for(database, lake, "us_equity", symbol, MARCH, None, cache=LoadedModels(2))


def test_loaded_ensembles_are_kept_by_content_and_the_oldest_go_first(
    database: Database, lake: Lake, trained: Trained, symbol: str
) -> None:
    cache = LoadedModels(2)
    hashes = [
        register_ensemble(database, lake, None, trained(seed), span(symbol, month), at=AT).content_hash
        for seed, month in ((7, MARCH), (8, APRIL), (9, MAY))
    ]

    first = cache.get(lake, hashes[0])
    cache.get(lake, hashes[1])
    assert cache.get(lake, hashes[0]) is first
    cache.get(lake, hashes[2])

    assert cache.get(lake, hashes[0]) is first
    assert len(cache) == 2
