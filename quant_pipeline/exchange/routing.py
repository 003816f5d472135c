"""From a method and path to the function that answers. No answers here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from quant_pipeline.exchange.http import Reply, Request

Endpoint = Callable[[Request, dict[str, str]], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: `group` names the rate limit that it counts against."""

    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint
    group: str


def route(method: str, path: str, endpoint: Endpoint, group: str) -> Route:
    """A route whose `{name}` parts match one path segment each."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
    return Route(method, re.compile(pattern + r"\Z"), endpoint, group)


def find_route(routes: tuple[Route, ...], request: Request) -> tuple[Route, dict[str, str]] | None:
    """The first route that fits the request, with the values of its path."""
    for candidate in routes:
        if candidate.method == request.method and (match := candidate.pattern.match(request.path)):
            return candidate, match.groupdict()
    return None
