"""Revision 0004: up to when each session was fetched, what checks say of its bars, and tries to repair its holes."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE coverage ADD COLUMN fetched_to timestamptz",
    # Until now a row of a collection meant: asked for from the beginning of the session to the time of the check.
    """
    UPDATE coverage SET fetched_to = least(checked_at, (session + 1)::timestamp AT TIME ZONE 'UTC')
    WHERE status IN ('forming', 'complete')
    """,
    # Which sessions of a symbol have bars, newest first.
    "CREATE INDEX coverage_symbol ON coverage (market, symbol, session DESC) WHERE present > 0",
    """
    CREATE TABLE bar_quality (
        market text NOT NULL,
        session date NOT NULL,
        symbol text NOT NULL,
        status text NOT NULL CHECK (status IN ('ok', 'suspect', 'broken', 'bad')),
        rules text NOT NULL,
        since timestamptz,
        detail text NOT NULL,
        checked_at timestamptz NOT NULL,
        PRIMARY KEY (market, session, symbol)
    )
    """,
    "CREATE INDEX bar_quality_found ON bar_quality (market, symbol, session) WHERE status <> 'ok'",
    """
    CREATE TABLE bar_repairs (
        market text NOT NULL,
        session date NOT NULL,
        symbol text NOT NULL,
        interval text NOT NULL,
        tries integer NOT NULL,
        first_try timestamptz NOT NULL,
        last_try timestamptz NOT NULL,
        reason text NOT NULL,
        PRIMARY KEY (market, session, symbol, interval)
    )
    """,
)


def upgrade() -> None:
    """Add the column and the tables."""
    connection = op.get_bind()
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Take them away again; what was checked and tried is lost, bars are not."""
    connection = op.get_bind()
    for statement in (
        "DROP TABLE bar_repairs",
        "DROP TABLE bar_quality",
        "DROP INDEX coverage_symbol",
        "ALTER TABLE coverage DROP COLUMN fetched_to",
    ):
        connection.exec_driver_sql(statement)
