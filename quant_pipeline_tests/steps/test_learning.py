"""Tuning and training: what is learned from, what is reused, and what becomes of a symbol that cannot be trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from quant_pipeline.core.models.params import EnsembleParams
from quant_pipeline.core.models.samples import Samples
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps import features, training, tuning
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import training_data, training_sessions
from quant_pipeline.steps.tables import RunContext, SessionOutcome
from quant_pipeline.storage.bar_quality import BarQuality, record_quality
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.hyperparameters import Hyperparameters, get_hyperparameters, put_hyperparameters
from quant_pipeline.storage.models import list_model_versions
from quant_pipeline.storage.ticker_spans import TickerSpan, record_spans
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.prices import daily_walk, store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
SESSIONS = calendar.sessions("nyse", date(2025, 3, 3), date(2026, 3, 13))
LATE = SESSIONS[-60:]
MARCH = date(2026, 3, 1)
TUNED = {"lightgbm": {"learning_rate": 0.11, "num_leaves": 9}, "xgboost": {"max_depth": 2}}
_RUNS = itertools.count()


@pytest.fixture
def optuna(postgres: Dsn) -> Iterator[str]:
    """The address of a database for the studies of one test."""
    with new_database(postgres) as dsn:
        yield dsn.sqlalchemy()


@pytest.fixture(scope="module")
def described(
    postgres: Dsn, migrated_template: Dsn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Dsn]]:
    """Features of two symbols with a year of bars and of one listed two months ago, to be copied."""
    ai = {"training_sessions": 300, "min_training_sessions": 150, "tuning_trials": 4, "tuning_symbols": 1}
    folder = tmp_path_factory.mktemp("desk")
    settings = settings_for(folder, US, symbols=("AAA", "BBB", "NEW"), history_start=SESSIONS[0], ai=ai)
    with new_database(postgres, template=migrated_template.database) as dsn:
        with opened_desk(settings, Database(dsn)) as opened:
            for symbol, days, seed in (("AAA", SESSIONS, 1), ("BBB", SESSIONS, 2), ("NEW", LATE, 3)):
                store_bars(opened, US, "1d", daily_walk(symbol, days, seed=seed))
            features.run(opened, settings.us_equity, SESSIONS, _context())
        yield settings, dsn


@pytest.fixture
def desk(postgres: Dsn, described: tuple[Settings, Dsn], optuna: str) -> Iterator[Desk]:
    """A copy of it, with nothing tuned or trained."""
    settings, template = described
    with (
        new_database(postgres, template=template.database) as dsn,
        opened_desk(settings, Database(dsn), studies=optuna) as opened,
    ):
        # Nothing of this needs MLflow's own tables; what is registered there is tested with the registry and end to end.
        opened.registry = None  # type: ignore[assignment]
        yield opened


def _context(*, symbols: tuple[str, ...] | None = None) -> RunContext:
    return RunContext(NOW, f"run-{next(_RUNS)}", symbols=symbols)


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _train(desk: Desk, month: date = MARCH, *, symbols: tuple[str, ...] | None = None) -> SessionOutcome:
    (outcome,) = training.run(desk, _market(desk), [month], _context(symbols=symbols)).outcomes
    return outcome


def _tune(desk: Desk, month: date = MARCH) -> SessionOutcome:
    (outcome,) = tuning.run(desk, _market(desk), [month], _context()).outcomes
    return outcome


def _counts(outcome: SessionOutcome) -> tuple[int, int, int]:
    """Trained, not trainable, reused."""
    return tuple(int(outcome.numbers[name]) for name in ("trained", "not_trainable", "reused"))  # type: ignore[return-value]


def _change(desk: Desk, symbol: str, session: date) -> None:
    """A vendor restates a bar, and the features follow."""
    ts = pd.Timestamp(calendar.daily_bar_start("nyse", session))
    walk = daily_walk("AAA", SESSIONS, seed=1) if symbol == "AAA" else daily_walk("BBB", SESSIONS, seed=2)
    bar = walk[walk["ts"] == ts]
    store_bars(desk, US, "1d", bar.assign(close=bar["close"] * 1.002, high=bar["high"] * 1.01))
    features.run(desk, _market(desk), SESSIONS, _context())


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Samples, EnsembleParams]]:
    """What ensembles were trained from, in order; the training is the real one."""
    seen: list[tuple[Samples, EnsembleParams]] = []
    real: Callable[..., Any] = training.train_ensemble

    def spy(samples: Samples, *args: Any, params: EnsembleParams, **kwargs: Any) -> Any:
        seen.append((samples, params))
        return real(samples, *args, params=params, **kwargs)

    monkeypatch.setattr(training, "train_ensemble", spy)
    return seen


# Training


def test_a_month_is_trained_on_sessions_before_it_and_one_symbol_with_too_few_stops_nobody(
    desk: Desk, fitted: list[tuple[Samples, EnsembleParams]]
) -> None:
    outcome = _train(desk)
    assert _counts(outcome) == (2, 1, 0)
    assert int(outcome.numbers["accepted"]) + int(outcome.numbers["rejected"]) == 2
    assert str(outcome.numbers["problems"]).startswith("NEW: ")
    assert "150 are needed" in str(outcome.numbers["problems"])
    versions = list_model_versions(desk.db, US, month=MARCH)
    assert [(v.symbol, v.serves_from, v.serves_to) for v in versions] == [
        (symbol, MARCH, date(2026, 4, 1)) for symbol in ("AAA", "BBB")
    ]
    last = SESSIONS[SESSIONS.index(date(2026, 3, 2)) - 1]
    close = np.datetime64(calendar.session_hours("nyse", last).closes_at.replace(tzinfo=None))
    for samples, _ in fitted:
        assert samples.target_at.max() == close
        assert (samples.known_at < samples.target_at).all()
    assert {v.trained_to for v in versions} == {SESSIONS[SESSIONS.index(last) - 1]}


def test_nothing_is_trained_again_while_rows_parameters_and_code_are_the_same(
    desk: Desk, fitted: list[tuple[Samples, EnsembleParams]]
) -> None:
    first = _train(desk)
    again = _train(desk)
    assert _counts(again) == (0, 0, 3)
    assert len(fitted) == 2
    assert again.content_hash == first.content_hash
    # A bar of the month that is served is no part of what is learned from.
    _change(desk, "AAA", date(2026, 3, 5))
    assert _counts(_train(desk)) == (0, 0, 3)


def test_a_changed_bar_of_the_past_trains_its_symbol_anew(
    desk: Desk, fitted: list[tuple[Samples, EnsembleParams]]
) -> None:
    _train(desk)
    _change(desk, "AAA", date(2025, 12, 15))
    assert _counts(_train(desk)) == (1, 0, 2)
    assert [v.symbol for v in list_model_versions(desk.db, US, month=MARCH)] == ["AAA", "AAA", "BBB"]
    assert len(fitted) == 3


def test_a_run_limited_to_a_symbol_trains_that_one(desk: Desk, fitted: list[tuple[Samples, EnsembleParams]]) -> None:
    assert _counts(_train(desk, symbols=("BBB",))) == (1, 0, 0)
    assert _counts(_train(desk)) == (1, 1, 1)
    assert len(fitted) == 2


def test_tuned_parameters_are_the_ones_that_are_trained_with(
    desk: Desk, fitted: list[tuple[Samples, EnsembleParams]]
) -> None:
    put_hyperparameters(desk.db, Hyperparameters(US, "BBB", MARCH, TUNED, "by hand", 4, 0.01, NOW))
    _train(desk)
    used = dict(zip(("AAA", "BBB"), (params for _, params in fitted), strict=True))
    assert used["AAA"] == EnsembleParams()
    assert (used["BBB"].lightgbm.learning_rate, used["BBB"].lightgbm.num_leaves) == (0.11, 9)
    assert used["BBB"].xgboost.max_depth == 2
    digests = {v.symbol: v.params_hash for v in list_model_versions(desk.db, US, month=MARCH)}
    assert digests == {symbol: params.digest() for symbol, params in used.items()}
    # Other parameters are a reason to train again.
    put_hyperparameters(desk.db, Hyperparameters(US, "AAA", MARCH, TUNED, "by hand", 4, 0.01, NOW))
    assert _counts(_train(desk)) == (1, 0, 2)


def test_months_without_history_or_features_train_nothing_and_say_so(desk: Desk) -> None:
    for month in (SESSIONS[0].replace(day=1), date(2025, 4, 1), date(2025, 6, 1)):
        outcome = _train(desk, month)
        assert _counts(outcome) == (0, 3, 0)
    assert list_model_versions(desk.db, US) == ()


def test_training_looks_back_as_far_as_the_settings_say(desk: Desk) -> None:
    market = _market(desk)
    short = market.model_copy(update={"ai": market.ai.model_copy(update={"training_sessions": 160})})
    sessions = training_sessions(short, MARCH)
    assert len(sessions) == 160
    assert sessions[-1] < MARCH
    (data,) = training_data(desk, short, sessions, ["AAA"], _context())
    assert data.samples is not None
    assert (data.sessions, len(np.unique(data.samples.known_at)), data.first) == (150, 159, sessions[0])
    assert training_sessions(market, SESSIONS[0]) == ()


def test_fewer_sessions_with_bars_than_are_needed_train_nothing_and_say_how_many_there_are(desk: Desk) -> None:
    outcome = _train(desk, symbols=("NEW",))
    assert _counts(outcome) == (0, 1, 0)
    listed = len([s for s in LATE if s < MARCH])
    assert outcome.numbers["problems"] == f"NEW: {listed} sessions with bars, 150 are needed (ai.min_training_sessions)"


def test_nothing_is_learned_from_a_move_that_is_not_believed(desk: Desk) -> None:
    jump = SESSIONS[150]
    sound = BarQuality(US, jump, "AAA", "bad", "no_volume", None, "nobody traded", NOW)
    sessions = training_sessions(_market(desk), MARCH)
    (before,) = training_data(desk, _market(desk), sessions, ["AAA"], _context())
    record_quality(desk.db, [sound])
    (after,) = training_data(desk, _market(desk), sessions, ["AAA"], _context())
    assert before.samples is not None
    assert after.samples is not None
    left_out = set(before.samples.known_at.astype("datetime64[D]")) - set(
        after.samples.known_at.astype("datetime64[D]")
    )
    # The row whose target ends on that day, and those whose features reach back to it.
    assert left_out == {np.datetime64(session) for session in SESSIONS[149:170]}


def test_nothing_is_learned_from_before_a_long_hole_or_from_another_company(desk: Desk) -> None:
    market = _market(desk)
    sessions = training_sessions(market, MARCH)
    record_spans(desk.db, [TickerSpan(US, "AAA", "AAA", SESSIONS[50], date(2050, 12, 31), "lean", NOW)])
    (listed,) = training_data(desk, market, sessions, ["AAA"], _context(), least=1)
    with desk.db.begin() as connection:
        query = "DELETE FROM coverage WHERE symbol = 'BBB' AND session BETWEEN :first AND :last"
        connection.execute(text(query), {"first": SESSIONS[60], "last": SESSIONS[90]})
    short = market.model_copy(update={"quality": market.quality.model_copy(update={"life_hole_sessions": 20})})
    (holed,) = training_data(desk, short, sessions, ["BBB"], _context())
    assert (listed.first, holed.first) == (SESSIONS[70], SESSIONS[111])


# Tuning


def _trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The families whose objective was asked, once a trial."""
    asked: list[str] = []
    real = tuning.make_objective

    def spy(samples: Any, family: str, *args: Any) -> Any:
        objective = real(samples, family, *args)  # type: ignore[arg-type]

        def counted(params: Any) -> float:
            asked.append(family)
            return objective(params)

        return counted

    monkeypatch.setattr(tuning, "make_objective", spy)
    return asked


def test_a_study_runs_once_and_training_uses_what_it_found(
    desk: Desk, fitted: list[tuple[Samples, EnsembleParams]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _trials(monkeypatch)
    outcome = _tune(desk)
    assert (outcome.numbers["symbols_tuned"], outcome.numbers["trials"]) == (1, 8)
    assert sorted(asked) == ["lightgbm"] * 4 + ["xgboost"] * 4
    found = get_hyperparameters(desk.db, US, "AAA", MARCH)
    assert found is not None
    assert outcome.numbers["rmse_AAA"] == found.value
    again = _tune(desk)
    assert (again.content_hash, len(asked)) == (outcome.content_hash, 8)
    _train(desk)
    assert fitted[0][1] == tuning.tuned_params(desk, _market(desk), "AAA", MARCH)
    assert fitted[0][1].lightgbm.learning_rate == found.params["lightgbm"]["learning_rate"]
    assert fitted[1][1] == EnsembleParams()


def test_other_rows_are_another_study(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _trials(monkeypatch)
    _tune(desk)
    _change(desk, "AAA", date(2025, 12, 15))
    _tune(desk)
    assert len(asked) == 16


def test_a_symbol_with_too_few_rows_is_not_tuned_and_keeps_the_defaults(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _trials(monkeypatch)
    market = _market(desk).model_copy(update={"symbols": ("NEW",)})
    (outcome,) = tuning.run(desk, market, [MARCH], _context()).outcomes
    assert dict(outcome.numbers) == {"symbols_tuned": 0, "trials": 0}
    few = market.model_copy(update={"ai": market.ai.model_copy(update={"min_training_sessions": 30})})
    (outcome,) = tuning.run(desk, few, [MARCH], _context()).outcomes
    assert dict(outcome.numbers) == {"symbols_tuned": 0, "trials": 0}
    assert asked == []
    assert tuning.tuned_params(desk, market, "NEW", MARCH) == EnsembleParams()
