"""Model versions with their history, and hyperparameters."""

from __future__ import annotations

from quant_pipeline.storage.migrations.schema_0001.common import append_only

STATEMENTS = (
    """
    CREATE TABLE model_versions (
        id text PRIMARY KEY,
        market text NOT NULL,
        symbol text NOT NULL,
        month date NOT NULL,
        name text NOT NULL,
        content_hash text NOT NULL,
        params_hash text NOT NULL,
        trained_from date NOT NULL,
        trained_to date NOT NULL,
        serves_from date NOT NULL,
        serves_to date NOT NULL,
        metrics json NOT NULL,
        status text NOT NULL,
        mlflow_version text,
        created_at timestamptz NOT NULL,
        CONSTRAINT model_never_serves_what_it_saw CHECK (trained_from <= trained_to AND trained_to < serves_from),
        CONSTRAINT model_serves_a_span CHECK (serves_from < serves_to)
    )
    """,
    """
    CREATE INDEX model_versions_serving ON model_versions (market, symbol, serves_from, serves_to)
    """,
    """
    CREATE TABLE model_events (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model_version_id text NOT NULL REFERENCES model_versions (id),
        event text NOT NULL,
        at timestamptz NOT NULL,
        actor text NOT NULL,
        note text NOT NULL
    )
    """,
    """
    CREATE INDEX model_events_version ON model_events (model_version_id, at, id)
    """,
    *append_only("model_events"),
    """
    CREATE TABLE hyperparameters (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        symbol text NOT NULL,
        month date NOT NULL,
        params json NOT NULL,
        params_hash text NOT NULL,
        study text NOT NULL,
        trials integer NOT NULL,
        value double precision NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    """
    CREATE INDEX hyperparameters_latest ON hyperparameters (market, symbol, month, id)
    """,
    *append_only("hyperparameters"),
)
