"""Hyperparameters that a study found for a symbol and a month served; every finding stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.sql import (
    canonical_json,
    insert_statement,
    records,
    select_list,
    text_hash,
    values_of,
)

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a study settled on: `month` is the first day of the month served, `value` the best trial's objective."""

    market: str
    symbol: str
    month: date
    params: Mapping[str, Any]
    study: str
    trials: int
    value: float
    created_at: datetime


def params_hash(params: Mapping[str, Any]) -> str:
    """The hash under which parameters are cited by a model version."""
    return text_hash(canonical_json(params))


def put_hyperparameters(db: Database, found: Hyperparameters) -> str:
    """Add a finding, which is in force from then on, and return the hash of its parameters.

    The finding that is in force already, with the same parameters, study and trials, is not added again.
    """
    values = values_of(found) | {"params_hash": params_hash(found.params)}
    current = (
        "SELECT params_hash, study, trials FROM hyperparameters"
        " WHERE market = :market AND symbol = :symbol AND month = :month ORDER BY id DESC LIMIT 1"
    )
    with db.begin() as connection:
        row = connection.execute(text(current), values).first()
        if row is None or tuple(row) != (values["params_hash"], found.study, found.trials):
            connection.execute(text(insert_statement("hyperparameters", tuple(values))), values)
    return str(values["params_hash"])


def get_hyperparameters(
    db: Database, market: str, symbol: str, month: date, *, known_at: datetime | None = None
) -> Hyperparameters | None:
    """The newest finding for that month, or the newest made by `known_at`; None if there is none."""
    sql = (
        f"SELECT {select_list(Hyperparameters)} FROM hyperparameters"
        " WHERE market = :market AND symbol = :symbol AND month = :month"
        + (" AND created_at <= :known_at" if known_at is not None else "")
        + " ORDER BY id DESC LIMIT 1"
    )
    parameters = {"market": market, "symbol": symbol, "month": month, "known_at": known_at}
    with db.begin() as connection:
        found = records(connection, Hyperparameters, sql, parameters)
    return found[0] if found else None


def tuned_months(db: Database, market: str) -> frozenset[date]:
    """The months for which something was found."""
    with db.begin() as connection:
        sql = text("SELECT DISTINCT month FROM hyperparameters WHERE market = :market")
        return frozenset(connection.execute(sql, {"market": market}).scalars())
