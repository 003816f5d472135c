"""The lake: recomputable tables and model bytes as immutable objects named by content, with pointers in PostgreSQL.

An object is never changed. Which object a (market, step, session) means is one row, flipped in a transaction, so a
reader sees the old table or the new one. Where bytes lie is `lake_files`; what a table's hash is, `table_hash`.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.errors import CorruptObjectError, UnknownRecordError
from quant_pipeline.storage.lake_files import LakeFiles
from quant_pipeline.storage.table_hash import canonical_hash, canonical_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date, datetime

    import pyarrow as pa
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

_TABLE = "parquet"
_BYTES = "bin"

# Touching the row takes its lock, so that `prune` cannot remove an object that is being pointed at.
_TOUCH = "UPDATE lake_objects SET touched_at = now() WHERE hash = :hash RETURNING size_bytes"
_REGISTER = """
INSERT INTO lake_objects (hash, kind, suffix, size_bytes, row_count) VALUES (:hash, :kind, :suffix, :size, :rows)
ON CONFLICT (hash) DO UPDATE SET size_bytes = excluded.size_bytes, touched_at = now()
"""

_POINT = """
INSERT INTO lake_pointers (market, step, session, hash) VALUES (:market, :step, :session, :hash)
ON CONFLICT (market, step, session) DO UPDATE SET hash = excluded.hash, updated_at = now()
WHERE lake_pointers.hash <> excluded.hash
"""

_POINTERS = """
SELECT p.session, p.hash, o.row_count FROM lake_pointers p JOIN lake_objects o USING (hash)
WHERE p.market = :market AND p.step = :step AND p.session BETWEEN :first AND :last AND p.session = ANY(:sessions)
ORDER BY p.session
"""

# Kept whatever their age: what a pointer or a model names, and what a decision that led to an intent cites.
_PRUNABLE = """
DELETE FROM lake_objects o
WHERE o.touched_at < :older_than AND o.hash <> ALL(:keep)
  AND NOT EXISTS (SELECT 1 FROM lake_pointers p WHERE p.hash = o.hash)
  AND NOT EXISTS (SELECT 1 FROM model_versions m WHERE m.content_hash = o.hash)
  AND NOT EXISTS (SELECT 1 FROM cited c WHERE c.hash = o.hash)
RETURNING o.hash, o.suffix
"""

_CITED = """
CREATE TEMP TABLE cited ON COMMIT DROP AS
SELECT DISTINCT value #>> '{}' AS hash
FROM decisions d, jsonb_path_query(d.inputs, '$.**') AS value
WHERE jsonb_typeof(value) = 'string' AND EXISTS (SELECT 1 FROM intents i WHERE i.decision_id = d.id)
"""


class Lake:
    """A lake at `root` (a folder or an fsspec URL such as `s3://bucket/prefix`) with its pointers in `db`."""

    def __init__(self, root: str, db: Database) -> None:
        """Store where the lake is; a local folder is made at the first write."""
        self.root = root
        self.db = db
        self._files = LakeFiles(root)

    def put_table(self, market: str, step: str, session: date, table: pa.Table) -> str:
        """Store a table as the current one of (market, step, session); returns its hash. Equal content is kept once."""
        return self.put_tables(market, step, {session: table})[session]

    def put_tables(self, market: str, step: str, tables: Mapping[date, pa.Table]) -> dict[date, str]:
        """`put_table` for many sessions with one transaction: all pointers move together. Returns the hashes."""
        canonical = {session: canonical_table(table) for session, table in tables.items()}
        hashes = {session: canonical_hash(table) for session, table in canonical.items()}
        distinct = {hashes[session]: table for session, table in canonical.items()}
        with self.db.begin() as connection:
            for key in sorted(distinct):  # in one order everywhere, so that two writers cannot wait for each other
                table = distinct[key]
                self._store(connection, key, "table", _TABLE, partial(_parquet, table), table.num_rows)
            pointers = [
                {"market": market, "step": step, "session": session, "hash": hashes[session]}
                for session in sorted(hashes)
            ]
            if pointers:
                connection.execute(text(_POINT), pointers)
        return hashes

    def get_table(self, market: str, step: str, session: date) -> pa.Table | None:
        """The current table of (market, step, session), or None if none was stored.

        Raises:
            UnknownRecordError: its object is gone from the lake.
            CorruptObjectError: its object is damaged.
        """
        key = self.present(market, step, [session]).get(session)
        return self.get_object(key) if key is not None else None

    def read_range(self, market: str, step: str, sessions: Sequence[date]) -> pa.Table:
        """The current tables of `sessions`, one after another by date; sessions without one are skipped.

        Columns that only some of them have are null in the others. Without any table the result has no columns.
        """
        import pyarrow as pa

        hashes = self.present(market, step, sessions)
        opened = {key: self.get_object(key) for key in dict.fromkeys(hashes.values())}
        tables = [opened[hashes[session]] for session in sorted(hashes)]
        if not tables:
            return pa.table({})
        try:
            return pa.concat_tables(tables, promote_options="default")
        except pa.ArrowTypeError as error:
            span = f"{min(hashes)} to {max(hashes)}"
            msg = f"{market}/{step} has another type in some sessions of {span} ({error}); recompute the older ones"
            raise TypeError(msg) from error

    def present(self, market: str, step: str, sessions: Sequence[date]) -> dict[date, str]:
        """The hash of the current table of each session that has one."""
        return {row["session"]: row["hash"] for row in self._pointers(market, step, sessions)}

    def row_counts(self, market: str, step: str, sessions: Sequence[date]) -> dict[date, int]:
        """The number of rows of the current table of each session that has one; opens no file."""
        return {row["session"]: row["row_count"] for row in self._pointers(market, step, sessions)}

    def get_object(self, key: str) -> pa.Table:
        """The table of that hash, whether current or not.

        Raises:
            UnknownRecordError: it is not there.
            CorruptObjectError: it has another hash.
        """
        import pyarrow as pa

        data = self._read(key, _TABLE)
        try:
            table = _from_parquet(data)
        except (pa.ArrowException, OSError) as error:
            raise CorruptObjectError(_damaged(key, self.root)) from error
        if canonical_hash(table) != key:
            raise CorruptObjectError(_damaged(key, self.root))
        return table

    def put_bytes(self, kind: str, data: bytes) -> str:
        """Store bytes (a model bundle, say) and return their SHA-256; `kind` is a word for people."""
        key = hashlib.sha256(data).hexdigest()
        with self.db.begin() as connection:
            self._store(connection, key, kind, _BYTES, lambda: data, None)
        return key

    def get_bytes(self, key: str) -> bytes:
        """The bytes with that SHA-256.

        Raises:
            UnknownRecordError: they are not there.
            CorruptObjectError: they have another hash.
        """
        data = self._read(key, _BYTES)
        if hashlib.sha256(data).hexdigest() != key:
            raise CorruptObjectError(_damaged(key, self.root))
        return data

    def prune(self, *, older_than: datetime, keep: Iterable[str] = ()) -> int:
        """Remove objects last written before `older_than` that nothing refers to; returns how many.

        Never removed: current tables, model bytes, hashes cited by a decision that led to an intent, and `keep`.
        """
        with self.db.begin() as connection:
            connection.execute(text(_CITED))
            gone = connection.execute(text(_PRUNABLE), {"older_than": older_than, "keep": list(keep)}).all()
            for key, suffix in gone:
                self._files.delete(key, suffix)
        return len(gone)

    def _store(
        self, connection: Connection, key: str, kind: str, suffix: str, encode: Callable[[], bytes], rows: int | None
    ) -> None:
        """Make sure that the object is there and registered; it is encoded only if it is not."""
        recorded = connection.execute(text(_TOUCH), {"hash": key}).scalar_one_or_none()
        # A file of another length than recorded is what a crash left.
        if recorded is not None and self._files.size(key, suffix) == recorded:
            return
        data = encode()
        parameters = {"hash": key, "kind": kind, "suffix": suffix, "size": len(data), "rows": rows}
        connection.execute(text(_REGISTER), parameters)
        self._files.write(key, suffix, data)

    def _read(self, key: str, suffix: str) -> bytes:
        try:
            return self._files.read(key, suffix)
        except FileNotFoundError as error:
            msg = f"object {key} is not in the lake at {self.root}; check the lake setting, or recompute the session"
            raise UnknownRecordError(msg) from error

    def _pointers(self, market: str, step: str, sessions: Sequence[date]) -> Sequence[Any]:
        if not sessions:
            return []
        parameters = {
            "market": market,
            "step": step,
            "first": min(sessions),
            "last": max(sessions),
            "sessions": list(sessions),
        }
        with self.db.begin() as connection:
            return connection.execute(text(_POINTERS), parameters).mappings().all()


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=True)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _from_parquet(data: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # ParquetFile, because read_table would import pyarrow.dataset.
    return canonical_table(pq.ParquetFile(pa.BufferReader(data)).read())


def _damaged(key: str, root: str) -> str:
    return f"object {key} in the lake at {root} does not have that hash; delete the file and recompute the session"
