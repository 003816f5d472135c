"""What the other areas build on: the exact number type and the trigger that keeps a table append-only."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE DOMAIN exact AS numeric
        CHECK (VALUE <> 'NaN'::numeric AND VALUE <> 'Infinity'::numeric AND VALUE <> '-Infinity'::numeric)
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation',
            MESSAGE = TG_OP || ' refused: table ' || TG_TABLE_NAME || ' is append-only',
            HINT = 'add a row that supersedes the old one';
    END
    $$
    """,
)


def append_only(table: str) -> tuple[str, str]:
    """Triggers that refuse to change, delete or truncate rows of `table`."""
    refuse = "EXECUTE FUNCTION refuse_change()"
    return (
        f"CREATE TRIGGER {table}_rows_stay BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {refuse}",
        f"CREATE TRIGGER {table}_stays BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}",
    )
