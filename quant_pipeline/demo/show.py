"""The demo's summaries as tables on a console. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from quant_pipeline.demo.summary import MarketSummary


def show(markets: Sequence[MarketSummary], seconds: float, console: Console) -> None:
    """Print what happened in each market."""
    table = Table(title="What happened", show_lines=False)
    table.add_column("")
    for market in markets:
        table.add_column(market.market, justify="right")
    for name, values in _rows(markets):
        table.add_row(name, *values)
    console.print(table)
    console.print(_decisions(markets))
    for market in markets:
        verdict = "[green]equals[/]" if not market.differences else "[red]differs from[/]"
        console.print(f"{market.market}: the ledger {verdict} the exchange's own log and account")
        for line in market.differences:
            console.print(f"  {line}")
    console.print(f"Took {seconds:.0f} s. Fingerprint: {' '.join(market.fingerprint[:12] for market in markets)}")


def _rows(markets: Sequence[MarketSummary]) -> list[tuple[str, list[str]]]:
    return [
        ("live sessions", [f"{m.sessions} ({m.first} to {m.last})" for m in markets]),
        ("bars stored", [f"{m.bars:,}" for m in markets]),
        ("votes: buy / sell / hold", [f"{m.votes['BUY']} / {m.votes['SELL']} / {m.votes['HOLD']}" for m in markets]),
        ("opinions of the AI", [str(m.opinions) for m in markets]),
        ("vetoes: AI / risk", [f"{m.ai_vetoes} / {m.risk_vetoes}" for m in markets]),
        ("orders sent over HTTP", [str(m.posts) for m in markets]),
        ("orders by state", [", ".join(f"{n} {state}" for state, n in m.orders.items()) or "0" for m in markets]),
        ("filled: buys / sells", [f"{m.filled_buys} / {m.filled_sells}" for m in markets]),
        ("equity before", [_money(m.equity_before, m.currency) for m in markets]),
        ("equity after", [_money(m.equity_after, m.currency) for m in markets]),
        ("shadow equity after", [_money(m.shadow_after, m.currency) for m in markets]),
        ("model versions", [", ".join(f"{n} {status}" for status, n in m.models.items()) or "0" for m in markets]),
    ]


def _decisions(markets: Sequence[MarketSummary]) -> Table:
    table = Table(title="Decisions of the broker's book by reason")
    table.add_column("reason")
    for market in markets:
        table.add_column(market.market, justify="right")
    for reason in sorted({reason for market in markets for reason in market.decisions}):
        table.add_row(reason, *(str(market.decisions.get(reason, 0)) for market in markets))
    return table


def _money(amount: float, currency: str) -> str:
    return f"{amount:,.0f} {currency}" if currency == "KRW" else f"{amount:,.2f} {currency}"
