"""Revision 0004: which bars were written since they were last looked at, restatements, and what versions were made from."""

from __future__ import annotations

from alembic import op

from quant_pipeline.storage.migrations.schema_0001.common import append_only

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # `content_id` is the first version of an unbroken run of equal contents, `checked_id` the newest version (of any
    # step) that was there when this one was made or found to hold; null means the row's own id.
    # The window is the span of sessions of the symbol's bars that it was made from.
    """
    ALTER TABLE data_versions
        ADD COLUMN window_from date,
        ADD COLUMN window_to date,
        ADD COLUMN content_id bigint,
        ADD COLUMN checked_id bigint
    """,
    "CREATE INDEX data_versions_window ON data_versions (market, symbol, window_to) WHERE window_from IS NOT NULL",
    """
    CREATE TABLE bars_touched (
        market text NOT NULL,
        session date NOT NULL,
        symbol text NOT NULL,
        interval text NOT NULL,
        changed bigint NOT NULL,
        inserted bigint NOT NULL,
        deleted bigint NOT NULL,
        first_ts timestamptz NOT NULL,
        mark bigint NOT NULL,
        PRIMARY KEY (market, session, symbol, interval)
    )
    """,
    "CREATE SEQUENCE bars_touched_mark",
    # What an older version of the code had not looked at yet.
    """
    INSERT INTO bars_touched (market, session, symbol, interval, changed, inserted, deleted, first_ts, mark)
    SELECT c.market, c.session, c.symbol, c.interval, 0, c.present, 0, coalesce(c.first_ts, c.checked_at),
           nextval('bars_touched_mark')
    FROM coverage c LEFT JOIN data_versions v
      ON v.market = c.market AND v.step = 'bars' AND v.session = c.session AND v.symbol = c.symbol AND v.is_current
    WHERE c.present > 0 AND (v.id IS NULL OR c.checked_at > v.confirmed_at)
    """,
    """
    CREATE TABLE restatements (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        symbol text NOT NULL,
        interval text NOT NULL,
        session date NOT NULL,
        kind text NOT NULL CHECK (kind IN ('changed', 'late', 'deleted')),
        bars bigint NOT NULL CHECK (bars > 0),
        first_ts timestamptz NOT NULL,
        old_version bigint NOT NULL REFERENCES data_versions (id),
        new_version bigint NOT NULL REFERENCES data_versions (id),
        old_hash text NOT NULL,
        new_hash text NOT NULL,
        detected_at timestamptz NOT NULL,
        run_id text NOT NULL,
        UNIQUE (new_version, interval, kind)
    )
    """,
    "CREATE INDEX restatements_time ON restatements (market, detected_at)",
    "CREATE INDEX restatements_session ON restatements (market, symbol, session, new_version)",
    *append_only("restatements"),
    "CREATE INDEX bar_revisions_deleted ON bar_revisions (market, interval, symbol, ts) WHERE kind = 'deleted'",
)


def upgrade() -> None:
    """Add the columns and tables."""
    connection = op.get_bind()
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Refuse: what happened to past bars would be forgotten."""
    msg = "revision 0005 cannot be undone; restore a backup that was made before it"
    raise NotImplementedError(msg)
