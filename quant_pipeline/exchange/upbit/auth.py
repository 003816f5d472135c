"""Who may speak Upbit's dialect: the JWT of each request, its query hash and its nonce. No orders."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections import deque
from typing import Any
from urllib.parse import unquote, unquote_plus, urlencode

from quant_pipeline.exchange.http import Reply, Request
from quant_pipeline.exchange.upbit.words import error

_DIGESTS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
_NONCES_KEPT = 200_000


class TokenCheck:
    """Verifies tokens of one key pair and remembers the nonces that were used."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        """Accept `access_key` signed with `secret_key`."""
        self._access_key = access_key
        self._secret = secret_key.encode()
        self._nonces: set[str] = set()
        self._order: deque[str] = deque()

    def refuse(self, request: Request) -> Reply | None:
        """None for a good token, else the answer that refuses."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return error(401, "no_authorization_token")
        payload = self._verified(token.strip())
        if payload is None:
            return error(401, "jwt_verification")
        if payload.get("access_key") != self._access_key:
            return error(401, "invalid_access_key")
        nonce = payload.get("nonce")
        if not isinstance(nonce, str) or not nonce:
            return error(401, "jwt_verification")
        if nonce in self._nonces:
            return error(401, "nonce_used")
        self._remember(nonce)
        return None if _hash_fits(request, payload) else error(401, "invalid_query_payload")

    def _remember(self, nonce: str) -> None:
        self._nonces.add(nonce)
        self._order.append(nonce)
        if len(self._order) > _NONCES_KEPT:
            self._nonces.discard(self._order.popleft())

    def _verified(self, token: str) -> dict[str, Any] | None:
        """The payload of a token whose signature fits; a foreign key's token is opened to say that the key is wrong."""
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            header, payload = (json.loads(_from_base64(part)) for part in parts[:2])
            signature = _from_base64(parts[2])
        except (binascii.Error, ValueError):
            return None
        if not isinstance(header, dict) or not isinstance(payload, dict) or header.get("alg") not in _DIGESTS:
            return None
        if payload.get("access_key") != self._access_key:
            return payload
        expected = hmac.new(self._secret, f"{parts[0]}.{parts[1]}".encode(), _DIGESTS[header["alg"]]).digest()
        return payload if hmac.compare_digest(expected, signature) else None


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _hash_fits(request: Request, payload: dict[str, Any]) -> bool:
    """Whether the token's query hash is of the parameters sent, in any of the encodings that clients hash."""
    spellings = _spellings(request)
    if not spellings:
        return "query_hash" not in payload
    if payload.get("query_hash_alg", "SHA512") != "SHA512":
        return False
    return any(hashlib.sha512(text.encode()).hexdigest() == payload.get("query_hash") for text in spellings)


def _spellings(request: Request) -> set[str]:
    """The parameter string as received and decoded; a JSON body counts as the same key=value string."""
    raw = request.query
    if not raw and request.body:
        raw = _body_string(request.body)
    return {raw, unquote(raw), unquote_plus(raw)} if raw else set()


def _body_string(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return text
    if not isinstance(content, dict):
        return text
    return urlencode({key: value for key, value in content.items() if value is not None}, doseq=True)
