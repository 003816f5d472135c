"""What was computed from what: settings, code and platform by their hash, data versions, lake objects and pointers."""

from __future__ import annotations

STATEMENTS = (
    # `json`, not `jsonb`: it keeps the text as it was hashed (jsonb would turn 1e+20 into an integer).
    """
    CREATE TABLE settings_versions (
        hash text PRIMARY KEY,
        content json NOT NULL,
        first_seen timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE code_versions (
        hash text PRIMARY KEY,
        description text NOT NULL,
        first_seen timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE platform_fingerprints (
        hash text PRIMARY KEY,
        content json NOT NULL,
        first_seen timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE data_versions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        step text NOT NULL,
        session date NOT NULL,
        symbol text NOT NULL,
        content_hash text NOT NULL,
        inputs_hash text NOT NULL,
        code_hash text NOT NULL,
        settings_hash text NOT NULL,
        created_at timestamptz NOT NULL,
        confirmed_at timestamptz NOT NULL,
        run_id text NOT NULL,
        is_current boolean NOT NULL
    )
    """,
    """
    CREATE UNIQUE INDEX data_versions_current ON data_versions (market, step, session, symbol) WHERE is_current
    """,
    """
    CREATE INDEX data_versions_history ON data_versions (market, step, session, symbol, id)
    """,
    """
    CREATE TABLE lake_objects (
        hash text PRIMARY KEY,
        kind text NOT NULL,
        suffix text NOT NULL,
        size_bytes bigint NOT NULL,
        row_count bigint,
        created_at timestamptz NOT NULL DEFAULT now(),
        touched_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE lake_pointers (
        market text NOT NULL,
        step text NOT NULL,
        session date NOT NULL,
        hash text NOT NULL REFERENCES lake_objects (hash),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (market, step, session)
    )
    """,
    """
    CREATE INDEX lake_pointers_hash ON lake_pointers (hash)
    """,
)
