"""Revision 0003: since when a ticker means a company."""

from __future__ import annotations

from alembic import op

from quant_pipeline.storage.migrations.schema_0001.common import append_only

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE ticker_spans (
    market text NOT NULL,
    symbol text NOT NULL,
    ticker text NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL CHECK (last_day >= first_day),
    source text NOT NULL,
    known_at timestamptz NOT NULL,
    PRIMARY KEY (market, symbol, known_at, first_day)
)
"""


def upgrade() -> None:
    """Create the table."""
    connection = op.get_bind()
    for statement in (_TABLE, *append_only("ticker_spans")):
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Drop the table; importing the map files again fills it."""
    op.get_bind().exec_driver_sql("DROP TABLE ticker_spans")
