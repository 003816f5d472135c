"""Running the desk: risk state and events, the trading switch, and notifications on their way out."""

from __future__ import annotations

from quant_pipeline.storage.migrations.schema_0001.common import append_only

STATEMENTS = (
    """
    CREATE TABLE risk_state (
        market text NOT NULL,
        book text NOT NULL,
        session date NOT NULL,
        day_start_equity exact NOT NULL,
        day_flows exact NOT NULL,
        equity exact NOT NULL,
        tripped_at timestamptz,
        halted_until timestamptz,
        reason text NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (market, book)
    )
    """,
    """
    CREATE TABLE risk_events (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        book text NOT NULL,
        at timestamptz NOT NULL,
        kind text NOT NULL,
        level text NOT NULL,
        detail jsonb NOT NULL
    )
    """,
    """
    CREATE INDEX risk_events_time ON risk_events (market, book, at)
    """,
    *append_only("risk_events"),
    """
    CREATE TABLE control_state (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        state text NOT NULL CHECK (state IN ('running', 'paused', 'halted', 'draining')),
        actor text NOT NULL,
        note text NOT NULL,
        at timestamptz NOT NULL
    )
    """,
    """
    CREATE INDEX control_state_latest ON control_state (market, id DESC)
    """,
    *append_only("control_state"),
    """
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL UNIQUE,
        kind text NOT NULL,
        market text NOT NULL,
        payload jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        due_at timestamptz NOT NULL,
        attempts integer NOT NULL DEFAULT 0,
        sent_at timestamptz,
        last_error text NOT NULL DEFAULT ''
    )
    """,
    """
    CREATE INDEX outbox_due ON outbox (due_at) WHERE sent_at IS NULL
    """,
)
