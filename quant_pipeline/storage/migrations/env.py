"""Alembic's entry point: runs the revisions on the connection that `storage.migrate` hands over; decides nothing."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
