"""Revision 0001: every table of the desk; the SQL is in `schema_0001`, one module an area."""

from __future__ import annotations

from alembic import op

from quant_pipeline.storage.migrations.schema_0001 import bars, common, decisions, desk, ledger, models, versions

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_AREAS = (common, versions, bars, models, decisions, ledger, desk)


def upgrade() -> None:
    """Create everything."""
    connection = op.get_bind()
    for area in _AREAS:
        for statement in area.STATEMENTS:
            connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Refuse: there is nothing before the first revision but an empty database, and this one holds a ledger."""
    msg = "revision 0001 cannot be undone; drop the database if that is meant"
    raise NotImplementedError(msg)
