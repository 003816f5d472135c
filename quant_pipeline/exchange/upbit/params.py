"""The parameters of a request in Upbit's dialect, from the query or a JSON or form body. Nothing is judged here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from quant_pipeline.exchange.http import Request


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters by name with all their values; `name[]` and repeated names are lists."""

    values: dict[str, list[str]]

    def one(self, name: str) -> str | None:
        """The first value of a parameter, None if it is absent or empty."""
        found = self.values.get(name)
        return found[0] if found and found[0] != "" else None

    def many(self, name: str) -> list[str]:
        """All values of a list parameter, with commas split."""
        found = self.values.get(name, [])
        return [part for text in found for part in text.split(",") if part]

    def whole(self, name: str, default: int) -> int | None:
        """A whole number; None if what was sent is none."""
        text = self.one(name)
        if text is None:
            return default
        return int(text) if text.isdigit() else None


def read_params(request: Request) -> Params:
    """All parameters: pyupbit sends them as a form body on GET and a JSON body on DELETE, upbit-sdk in the query."""
    pairs = request.pairs()
    if request.body:
        pairs += _body_pairs(request.body)
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.removesuffix("[]"), []).append(value)
    return Params(values)


def _body_pairs(body: bytes) -> list[tuple[str, str]]:
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return parse_qsl(text, keep_blank_values=True)
    if not isinstance(content, dict):
        return []
    pairs: list[tuple[str, str]] = []
    for name, value in content.items():
        listed = value if isinstance(value, list) else [value]
        pairs += [(name, _text(item)) for item in listed if item is not None]
    return pairs


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def parse_instant(text: str) -> datetime | None:
    """A time in ISO 8601 (without offset: UTC) or in milliseconds since 1970; None from anything else."""
    if text.isdigit() and len(text) > 8:
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            # A plus sign that was not escaped arrives as a space.
            at = datetime.fromisoformat("+".join(text.rsplit(" ", 1)))
        except ValueError:
            return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
