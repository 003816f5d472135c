"""Settings, code and platform by their hash, so that a hash in a decision can be opened again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.errors import CorruptObjectError
from quant_pipeline.storage.sql import canonical_json, text_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quant_pipeline.storage.database import Database


def put_settings(db: Database, content: Mapping[str, Any]) -> str:
    """Store settings (JSON types only, no secrets) and return their hash; equal settings are stored once."""
    return _put(db, "settings_versions", content)


def get_settings(db: Database, settings_hash: str) -> dict[str, Any] | None:
    """The settings of that hash exactly as they were put, or None if it was never stored."""
    return _get(db, "settings_versions", settings_hash)


def put_platform(db: Database, content: Mapping[str, Any]) -> str:
    """Store a platform fingerprint and return its hash; equal fingerprints are stored once."""
    return _put(db, "platform_fingerprints", content)


def get_platform(db: Database, platform_hash: str) -> dict[str, Any] | None:
    """The fingerprint of that hash, or None if it was never stored."""
    return _get(db, "platform_fingerprints", platform_hash)


def put_code(db: Database, code_hash: str, description: str) -> None:
    """Store what a code hash stands for (a revision, a version); the first description of a hash stays."""
    sql = "INSERT INTO code_versions (hash, description) VALUES (:hash, :description) ON CONFLICT DO NOTHING"
    with db.begin() as connection:
        connection.execute(text(sql), {"hash": code_hash, "description": description})


def get_code(db: Database, code_hash: str) -> str | None:
    """The description of a code hash, or None if it was never stored."""
    with db.begin() as connection:
        row = connection.execute(text("SELECT description FROM code_versions WHERE hash = :hash"), {"hash": code_hash})
        description: str | None = row.scalar_one_or_none()
    return description


def _put(db: Database, table: str, content: Mapping[str, Any]) -> str:
    body = canonical_json(content)
    key = text_hash(body)
    sql = f"INSERT INTO {table} (hash, content) VALUES (:hash, CAST(:content AS json)) ON CONFLICT DO NOTHING"
    with db.begin() as connection:
        connection.execute(text(sql), {"hash": key, "content": body})
    return key


def _get(db: Database, table: str, key: str) -> dict[str, Any] | None:
    with db.begin() as connection:
        sql = text(f"SELECT CAST(content AS text) FROM {table} WHERE hash = :hash")
        body: str | None = connection.execute(sql, {"hash": key}).scalar_one_or_none()
    if body is None:
        return None
    if text_hash(body) != key:
        msg = f"{table} row {key} holds content with hash {text_hash(body)}; it was edited by hand, restore it"
        raise CorruptObjectError(msg)
    content: dict[str, Any] = json.loads(body)
    return content
