"""The append-only log of requests that tests and people read through the admin API. No secrets, no bodies."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime

KEPT = 200_000
"""Entries kept; older ones are dropped, their sequence numbers are not reused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered request. `at` is the exchange's time, `client_id` the idempotency key where one was named."""

    seq: int
    dialect: str
    method: str
    path: str
    status: int
    at: str
    client_id: str | None


class RequestLog:
    """All requests but those to /admin, in the order in which they were answered."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._seq = 0

    def add(self, dialect: str, method: str, path: str, status: int, at: datetime, client_id: str | None) -> None:
        """Append one request."""
        self._seq += 1
        self._entries.append(Entry(self._seq, dialect, method, path, status, at.isoformat(), client_id))

    def find(
        self, *, dialect: str | None = None, method: str | None = None, path: str | None = None, after: int = 0
    ) -> list[dict[str, object]]:
        """The entries with these values, oldest first, with a sequence number above `after`."""
        return [
            asdict(entry)
            for entry in self._entries
            if entry.seq > after
            and dialect in (None, entry.dialect)
            and method in (None, entry.method)
            and path in (None, entry.path)
        ]
