"""The exchange's time: the wall clock, or one that is set and moved by hand. It never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ClockError(ValueError):
    """The clock cannot be moved as asked."""


def parse_time(text: str) -> datetime:
    """An ISO 8601 time as aware UTC; without an offset it is taken as UTC.

    Raises:
        ClockError: `text` is not an ISO 8601 time.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is not an ISO 8601 time; write it like 2025-03-03T14:30:00+00:00"
        raise ClockError(msg) from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class Clock:
    """Now, in UTC. `mode` is "wall" or "manual"."""

    def __init__(self, start: str) -> None:
        """Follow the wall clock for "wall", else stand still at the ISO time `start` until moved."""
        self.mode = "wall" if start == "wall" else "manual"
        self._now = datetime.now(UTC) if start == "wall" else parse_time(start)

    def now(self) -> datetime:
        """The present time; never earlier than one given before, also when the machine's clock is set back."""
        if self.mode == "wall":
            self._now = max(self._now, datetime.now(UTC))
        return self._now

    def set(self, at: datetime) -> datetime:
        """Move to `at`.

        Raises:
            ClockError: the clock follows the wall, or `at` lies in the past.
        """
        if self.mode == "wall":
            msg = "the exchange follows the wall clock; start it with a time (clock = ISO time) to move it by hand"
            raise ClockError(msg)
        if at < self._now:
            msg = f"time never goes back: the clock is at {self._now.isoformat()}, asked for {at.isoformat()}"
            raise ClockError(msg)
        self._now = at
        return at

    def advance(self, seconds: float) -> datetime:
        """Move `seconds` ahead.

        Raises:
            ClockError: the clock follows the wall, or `seconds` is negative.
        """
        return self.set(self._now + timedelta(seconds=seconds))
