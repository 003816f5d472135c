"""Decisions and the shadow book's state at the end of each session."""

from __future__ import annotations

from quant_pipeline.storage.migrations.schema_0001.common import append_only

STATEMENTS = (
    """
    CREATE TABLE decisions (
        id text PRIMARY KEY,
        market text NOT NULL,
        book text NOT NULL,
        symbol text NOT NULL,
        session date NOT NULL,
        bar_ts timestamptz NOT NULL,
        bar_close timestamptz NOT NULL,
        origin text NOT NULL,
        version integer NOT NULL,
        action integer NOT NULL CHECK (action BETWEEN -1 AND 1),
        reason text NOT NULL,
        vote integer NOT NULL CHECK (vote BETWEEN -1 AND 1),
        score double precision,
        expected_return double precision,
        p_up double precision,
        confidence double precision,
        members_usable integer,
        model_version_id text,
        price exact,
        qty exact,
        notional exact,
        equity exact,
        settings_hash text NOT NULL,
        code_hash text NOT NULL,
        platform_hash text NOT NULL,
        inputs jsonb NOT NULL,
        decided_at timestamptz NOT NULL,
        run_id text NOT NULL
    )
    """,
    """
    CREATE INDEX decisions_latest ON decisions (market, book, session, symbol, bar_ts, version DESC)
    """,
    """
    CREATE INDEX decisions_time ON decisions (market, decided_at DESC)
    """,
    *append_only("decisions"),
    """
    CREATE TABLE shadow_states (
        market text NOT NULL,
        session date NOT NULL,
        state bytea NOT NULL,
        content_hash text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (market, session)
    )
    """,
)
