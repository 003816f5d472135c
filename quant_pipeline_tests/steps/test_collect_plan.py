"""How missing sessions are cut into pieces: all of them, none twice, none too large, whatever is missing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, load_settings
from quant_pipeline.steps.collect_plan import plan_chunks

NOW = datetime(2026, 3, 20, tzinfo=UTC)
SESSIONS = {
    "us_equity": calendar.sessions("nyse", date(2026, 2, 2), date(2026, 3, 6)),
    "krw_crypto": calendar.sessions("always", date(2026, 3, 1), date(2026, 3, 19)),
}
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")


def _market(name: str, **changes: object) -> MarketSettings:
    return load_settings(environ={}).market(name).model_copy(update=changes)


@given(st.data(), st.sampled_from(list(SESSIONS)), st.integers(1, 20_000))
def test_every_missing_session_of_every_symbol_is_in_exactly_one_piece(
    data: st.DataObject, name: str, most: int
) -> None:
    lacking = st.lists(st.sampled_from(SYMBOLS), unique=True).map(lambda found: tuple(sorted(found)))
    missing = {session: data.draw(lacking) for session in SESSIONS[name]}
    market = _market(name, collect_chunk_rows=most)
    chunks = plan_chunks(market, missing, NOW)
    found = Counter((session, symbol) for c in chunks for session in c.sessions for symbol in c.symbols)
    assert found == Counter((session, symbol) for session, symbols in missing.items() for symbol in symbols)
    for chunk in chunks:
        assert chunk.rows <= most or (len(chunk.symbols), len(chunk.sessions)) == (1, 1)
        between = calendar.sessions(market.market.calendar, chunk.sessions[0], chunk.sessions[-1])
        assert chunk.sessions == between


def test_pieces_go_from_old_to_new_at_the_interval_of_their_age() -> None:
    market = _market("krw_crypto", collect_chunk_rows=1440 * 2)
    chunks = plan_chunks(market, dict.fromkeys(SESSIONS["krw_crypto"], ("AAA", "BBB")), NOW)
    # Two symbols of hours: 60 sessions would fit. Of minutes a piece holds a single session.
    assert [(c.interval, c.sessions[0].day, c.sessions[-1].day) for c in chunks] == [
        ("1h", 1, 12),
        *[("1m", day, day) for day in range(13, 20)],
    ]


def test_a_session_of_many_symbols_is_cut_by_symbols() -> None:
    market = _market("krw_crypto", collect_chunk_rows=3000)
    day = SESSIONS["krw_crypto"][-1]
    assert [c.symbols for c in plan_chunks(market, {day: SYMBOLS}, NOW)] == [("AAA", "BBB"), ("CCC", "DDD")]
