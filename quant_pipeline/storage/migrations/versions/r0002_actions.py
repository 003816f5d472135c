"""Revision 0002: what splits did to the holdings of a book."""

from __future__ import annotations

from alembic import op

from quant_pipeline.storage.migrations.schema_0001.common import append_only

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE position_splits (
        market text NOT NULL,
        book text NOT NULL,
        symbol text NOT NULL,
        ex_date date NOT NULL,
        ratio exact NOT NULL CHECK (ratio > 0),
        effective_at timestamptz NOT NULL,
        qty_before exact NOT NULL CHECK (qty_before >= 0),
        qty_change exact NOT NULL,
        applied_at timestamptz NOT NULL,
        PRIMARY KEY (market, book, symbol, ex_date)
    )
    """,
    *append_only("position_splits"),
)


def upgrade() -> None:
    """Add the table."""
    connection = op.get_bind()
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Refuse: the holdings of a book cannot be told without its splits."""
    msg = "revision 0002 cannot be undone; restore a backup that was made before it"
    raise NotImplementedError(msg)
