"""Events of restated bars: told with the version that makes them known, once, with one message for people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.outbox import claim
from quant_pipeline.storage.restatements import Restated, Restatement, restatements
from quant_pipeline.storage.touched import touched_bars
from quant_pipeline.storage.versions import Version, current_versions, put_versions, version_history
from quant_pipeline_tests.storage.builders import AT, MARKET, SESSION, bars, later
from quant_pipeline_tests.storage.test_touched import _write

_FIRST = Version(MARKET, "bars", SESSION, "A", "content-1", "inputs-1", "code-1", "", AT, "run-1")
_OTHER = replace(_FIRST, content_hash="content-2", inputs_hash="inputs-2", created_at=later(5), run_id="run-2")
_CHANGED = Restated(SESSION, "A", "1m", "changed", 3, AT)


def _ids(db: Database) -> list[int]:
    with db.begin() as connection:
        return list(connection.execute(text("SELECT id FROM data_versions ORDER BY id")).scalars())


def test_an_event_says_what_happened_and_which_versions_it_stands_between(database: Database) -> None:
    put_versions(database, [_FIRST])
    put_versions(database, [_OTHER], restated=[_CHANGED, replace(_CHANGED, kind="late", bars=2)])
    old, new = _ids(database)
    late, changed = restatements(database)
    expected = Restatement(
        changed.id, MARKET, "A", "1m", SESSION, "changed", 3, AT, old, new, "content-1", "content-2", later(5), "run-2"
    )
    assert changed == expected
    assert late == replace(expected, id=late.id, kind="late", bars=2)
    (told,) = claim(database, later(5))
    assert (told.kind, told.market) == ("restatement", MARKET)
    assert told.payload["bars"] == {"changed": 3, "late": 2}
    assert (told.payload["events"], told.payload["symbols"], told.payload["run_id"]) == (2, ["A"], "run-2")


def test_the_first_version_and_an_equal_one_are_no_restatement(database: Database) -> None:
    put_versions(database, [_FIRST], restated=[_CHANGED])
    put_versions(database, [replace(_FIRST, created_at=later(1))], restated=[_CHANGED])
    put_versions(database, [replace(_FIRST, code_hash="code-2")], restated=[_CHANGED])
    assert restatements(database) == ()
    assert claim(database, later(9)) == ()


def test_two_that_find_the_same_at_once_tell_it_once(database: Database) -> None:
    put_versions(database, [_FIRST])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: put_versions(database, [_OTHER], restated=[_CHANGED]), range(2)))
    assert len(restatements(database)) == 1
    assert len(claim(database, later(9))) == 1


def test_version_event_message_and_what_waits_come_together_or_not_at_all(database: Database) -> None:
    _write(database, bars(["A"], SESSION.isoformat(), 3))
    seen = touched_bars(database, MARKET, ["A"], SESSION)
    put_versions(database, [_FIRST])
    with pytest.raises(Exception, match="restatements_kind_check"):
        put_versions(database, [_OTHER], restated=[replace(_CHANGED, kind="moved")], seen=seen)  # type: ignore[arg-type]
    assert version_history(database, MARKET, "bars", SESSION, "A") == (_FIRST,)
    assert touched_bars(database, MARKET, ["A"], SESSION) == seen
    assert claim(database, later(9)) == ()
    put_versions(database, [_OTHER], restated=[_CHANGED], seen=seen)
    assert len(restatements(database)) == 1
    assert touched_bars(database, MARKET, ["A"], SESSION) == ()
    assert current_versions(database, MARKET, "bars", [SESSION]) == {(SESSION, "A"): _OTHER}


def test_events_are_narrowed_by_market_symbol_and_time_newest_first(database: Database) -> None:
    for n, symbol in enumerate(("A", "B", "C")):
        put_versions(database, [replace(_FIRST, symbol=symbol)])
        later_on = replace(_OTHER, symbol=symbol, created_at=later(10 * n))
        put_versions(database, [later_on], restated=[replace(_CHANGED, symbol=symbol)])
    assert [one.symbol for one in restatements(database)] == ["C", "B", "A"]
    assert [one.symbol for one in restatements(database, MARKET, since=later(10))] == ["C", "B"]
    assert [one.symbol for one in restatements(database, symbol="A")] == ["A"]
    assert [one.symbol for one in restatements(database, limit=1)] == ["C"]
    assert restatements(database, "krw_crypto") == ()
    with pytest.raises(ValueError, match="no time zone"):
        restatements(database, since=(AT + timedelta(hours=1)).replace(tzinfo=None))
