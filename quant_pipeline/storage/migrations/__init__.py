"""Alembic migrations of the desk's database, run by `quant_pipeline.storage.migrate`; one module a revision."""
