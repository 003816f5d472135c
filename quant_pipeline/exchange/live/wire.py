"""What a dry run has to know of one venue's wire format. One implementation per venue; HTTP is `upstream`'s."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from quant_pipeline.exchange.http import Reply, Request
from quant_pipeline.exchange.live.memory import Memory


class Wire(Protocol):
    """Questions to a venue and what its answers say. `now` is the exchange's time when the question was sent."""

    def question(self, request: Request) -> Request:
        """What a client asks, as it is put to the venue."""
        ...

    def learn(self, question: Request, content: Any, memory: Memory, now: datetime) -> None:  # noqa: ANN401 - JSON
        """Take over what a good answer says.

        Raises:
            KeyError, TypeError, ValueError, IndexError, AttributeError: it is not what the venue's answers are.
        """
        ...

    def recall(self, question: Request, memory: Memory, now: datetime) -> Reply | None:
        """The answer from memory, in the venue's own rows with their own times; None where they do not suffice."""
        ...

    def unavailable(self, why: str) -> Reply:
        """The answer when there is none, in the venue's form."""
        ...

    def refused(self, question: Request, status: int, content: Any, memory: Memory) -> bool:  # noqa: ANN401 - JSON
        """Whether the venue refused a question of ours for a symbol, which is then noted as unknown to it."""
        ...

    def listing_questions(self, memory: Memory, now: datetime) -> list[Request]:
        """What tells which symbols there are, when that is due."""
        ...

    def quote_questions(self, symbols: Iterable[str], memory: Memory) -> list[Request]:
        """What brings the last trades and quotes up to date."""
        ...

    def minute_questions(self, since: dict[str, int], memory: Memory, now: datetime) -> list[Request]:
        """What brings the minutes of each symbol nearer to now, from the time (epoch seconds) up to which they are known."""
        ...

    def day_questions(self, symbols: Iterable[str], now: datetime) -> list[Request]:
        """What tells the last daily bars, where the venue's account states them beside a holding."""
        ...
