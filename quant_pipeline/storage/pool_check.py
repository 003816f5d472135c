"""Whether a pooled psycopg2 connection still lives, looked up at its socket; making pools belongs to their owners.

SQLAlchemy's own pre-ping asks the server at every checkout: a tenth of the time of a tick. A server that went away or
ended the session has said so on the socket, which costs microseconds to see; only a silence is answered by a question.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, exc
from urllib3.util.wait import wait_for_read

if TYPE_CHECKING:
    from sqlalchemy import Engine

IDLE_SECONDS = 30.0
"""After this long in the pool the server is asked: a route may have died without a word."""

_RETURNED_AT = "quant_pipeline.returned_at"


def check_when_taken(engine: Engine, *, idle_seconds: float = IDLE_SECONDS) -> None:
    """Replace connections of `engine`'s pool that died while they were idle, when they are taken out."""

    def returned(_connection: object, record: Any) -> None:  # noqa: ANN401 - a pool record
        record.info[_RETURNED_AT] = time.monotonic()

    def taken(connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401 - a DBAPI connection
        since = record.info.get(_RETURNED_AT)
        if since is None:  # just opened
            return
        heard = connection.closed or wait_for_read(connection, timeout=0.0)
        if (heard or time.monotonic() - since >= idle_seconds) and not _answers(engine, connection):
            raise exc.DisconnectionError

    event.listen(engine, "checkin", returned)
    event.listen(engine, "checkout", taken)


def _answers(engine: Engine, connection: Any) -> bool:  # noqa: ANN401 - a DBAPI connection
    try:
        return engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        return False
