"""Identity: hashes of contents and code, ids of decisions and orders, the platform's fingerprint.

Here belongs how something is named by what it is. Storing names, and opening what they stand for, is the storage's.
"""

from __future__ import annotations

from quant_pipeline.core.identity.code import code_hash
from quant_pipeline.core.identity.content import canonical_bytes, combine_hashes, content_hash, content_hashes
from quant_pipeline.core.identity.ids import client_order_id, decision_id, decision_of_order
from quant_pipeline.core.identity.platform import fingerprint_hash, platform_fingerprint

__all__ = [
    "canonical_bytes",
    "client_order_id",
    "code_hash",
    "combine_hashes",
    "content_hash",
    "content_hashes",
    "decision_id",
    "decision_of_order",
    "fingerprint_hash",
    "platform_fingerprint",
]
