"""Who may speak Alpaca's dialect: key headers or basic authentication, with the venue's refusals. No orders."""

from __future__ import annotations

import base64
import binascii
import hmac

from quant_pipeline.exchange.http import Reply, Request, json_reply


def check_keys(request: Request, key: str, secret: str, *, data: bool) -> Reply | None:
    """None for the right keys, else the refusal: 403 without keys and on the data API, 401 for wrong ones."""
    sent = _sent_keys(request)
    if sent is not None and _same(sent[0], key) and _same(sent[1], secret):
        return None
    if sent is None or data:
        return json_reply(403, {"message": "forbidden."})
    return json_reply(401, {"code": 40110000, "message": "request is not authorized"})


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _sent_keys(request: Request) -> tuple[str, str] | None:
    key, secret = request.headers.get("apca-api-key-id", ""), request.headers.get("apca-api-secret-key", "")
    if key and secret:
        return key, secret
    kind, _, credentials = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password
