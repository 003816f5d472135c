"""Market data: bars by month, what a restated bar was before, coverage and corporate actions."""

from __future__ import annotations

from quant_pipeline.storage.migrations.schema_0001.common import append_only

STATEMENTS = (
    # double precision because bars feed floating-point computation and must come back bit for bit.
    # No default partition: months are attached ahead of the data, and a row without a month is an error.
    """
    CREATE TABLE bars (
        market text NOT NULL,
        symbol text NOT NULL,
        interval text NOT NULL,
        ts timestamptz NOT NULL,
        open double precision NOT NULL,
        high double precision NOT NULL,
        low double precision NOT NULL,
        close double precision NOT NULL,
        volume double precision NOT NULL,
        source text NOT NULL,
        feed text NOT NULL,
        adjustment text NOT NULL,
        fetched_at timestamptz NOT NULL,
        PRIMARY KEY (market, symbol, interval, ts)
    ) PARTITION BY RANGE (ts)
    """,
    """
    CREATE TABLE bar_revisions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        symbol text NOT NULL,
        interval text NOT NULL,
        ts timestamptz NOT NULL,
        open double precision NOT NULL,
        high double precision NOT NULL,
        low double precision NOT NULL,
        close double precision NOT NULL,
        volume double precision NOT NULL,
        source text NOT NULL,
        feed text NOT NULL,
        adjustment text NOT NULL,
        fetched_at timestamptz NOT NULL,
        superseded_at timestamptz NOT NULL,
        kind text NOT NULL CHECK (kind IN ('changed', 'deleted'))
    )
    """,
    """
    CREATE INDEX bar_revisions_bar ON bar_revisions (market, interval, symbol, ts, superseded_at)
    """,
    """
    CREATE INDEX bar_revisions_time ON bar_revisions (market, interval, superseded_at)
    """,
    *append_only("bar_revisions"),
    """
    CREATE TABLE coverage (
        market text NOT NULL,
        symbol text NOT NULL,
        interval text NOT NULL,
        session date NOT NULL,
        expected integer NOT NULL,
        present integer NOT NULL,
        no_trade integer NOT NULL,
        first_ts timestamptz,
        last_ts timestamptz,
        source text NOT NULL,
        feed text NOT NULL,
        adjustment text NOT NULL,
        status text NOT NULL,
        checked_at timestamptz NOT NULL,
        PRIMARY KEY (market, interval, session, symbol)
    )
    """,
    """
    CREATE TABLE corporate_actions (
        market text NOT NULL,
        symbol text NOT NULL,
        ex_date date NOT NULL,
        kind text NOT NULL,
        ratio exact,
        amount exact,
        currency text,
        source text NOT NULL,
        known_at timestamptz NOT NULL,
        PRIMARY KEY (market, symbol, ex_date, kind, known_at)
    )
    """,
    *append_only("corporate_actions"),
)
