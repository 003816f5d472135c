"""Errors of the storage layer. Each message names the value and what to do about it."""

from __future__ import annotations


class StorageError(Exception):
    """Base of every error that storage raises on purpose."""


class LedgerConflictError(StorageError):
    """A key that is already in the ledger was used again for something else."""


class UnknownRecordError(StorageError, LookupError):
    """A record that must exist does not."""


class CorruptObjectError(StorageError):
    """Stored bytes do not have the hash under which they were stored."""


class SchemaVersionError(StorageError):
    """The database's schema is not one that this version of the code can use."""


class DatabaseOrderError(StorageError):
    """A database sorts text by the rules of a language instead of by its bytes."""


class BarsInUseError(StorageError):
    """Bars were removed by another writer while they were being replaced."""
