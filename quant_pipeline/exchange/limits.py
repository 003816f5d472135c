"""Rate limits as the venues apply them: so many requests of a group in a window of real time. No wire formats."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """`requests` in each window of `seconds`."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass. `resets_at` is when the window ends (real epoch seconds).

    `blocked_for` is positive while a client that went on after refusals is shut out (seconds).
    """

    allowed: bool
    limit: int
    remaining: int
    resets_at: float
    blocked_for: float = 0.0


@dataclass(slots=True)
class _Window:
    number: int = -1
    used: int = 0
    refused: int = 0


class Limiter:
    """Counts requests per group in fixed windows; who persists past refusals is shut out for growing times."""

    def __init__(
        self,
        allowances: dict[str, Allowance],
        *,
        block_after: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Allow `allowances` by group; `block_after` refusals within one window shut the client out (None: never)."""
        self._allowances = allowances
        self._block_after = block_after
        self._now = now
        self._windows: dict[str, _Window] = {}
        self._blocks = 0
        self._blocked_until = 0.0

    def admit(self, group: str) -> Admission:
        """Count one request of `group`."""
        allowance, at = self._allowances[group], self._now()
        number = int(at // allowance.seconds)
        window = self._windows.setdefault(group, _Window())
        if window.number != number:
            window.number, window.used, window.refused = number, 0, 0
        ends = (number + 1) * allowance.seconds
        if at < self._blocked_until:
            return self._refusal(allowance, self._blocked_until, blocked_for=self._blocked_until - at)
        if window.used < allowance.requests:
            window.used += 1
            left = allowance.requests - window.used
            return Admission(allowed=True, limit=allowance.requests, remaining=left, resets_at=ends)
        window.refused += 1
        if self._block_after is None or window.refused <= self._block_after:
            return self._refusal(allowance, ends)
        self._blocks += 1
        self._blocked_until = at + 2.0 ** min(self._blocks - 1, 6)
        return self._refusal(allowance, self._blocked_until, blocked_for=self._blocked_until - at)

    @staticmethod
    def _refusal(allowance: Allowance, until: float, *, blocked_for: float = 0.0) -> Admission:
        return Admission(allowed=False, limit=allowance.requests, remaining=0, resets_at=until, blocked_for=blocked_for)
