"""Errors of the registry. Each message names the value and what to do about it."""

from __future__ import annotations


class RegistryError(Exception):
    """Base of every error that the registry raises on purpose."""


class StudyBusyError(RegistryError):
    """Another process is running the same study."""


class StudyMismatchError(RegistryError):
    """A stored study holds trials that its settings cannot have led to."""


class UnknownVersionError(RegistryError, LookupError):
    """A model version that must exist does not."""
