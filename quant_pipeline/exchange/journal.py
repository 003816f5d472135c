"""The state file: accounts and orders as a journal of JSON lines that survives a crash at any byte. No trading."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from quant_pipeline.core.values import Fill, OrderState, Side
from quant_pipeline.exchange.account import Account, Holding
from quant_pipeline.exchange.orders import Force, Kind, SimOrder, Ticket


@dataclass(slots=True)
class Memory:
    """What the journal says of one market."""

    account: Account
    orders: list[SimOrder] = field(default_factory=list)
    used_ids: dict[str, str] = field(default_factory=dict)


class Journal:
    """Appends one line per change; the last line of each order and account counts. A torn last line is dropped."""

    def __init__(self, path: Path, seed: int, live: tuple[str, ...] = ()) -> None:
        """Open or create the file at `path` for the generated market of `seed`; `live` markets have a venue's prices.

        Raises:
            ValueError: the file belongs to another seed or other prices, or is no state file.
        """
        self._path = path
        self._seed = seed
        self._live = list(live)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = compact(self._read())
        self._rewrite(self._lines)
        self._file = path.open("a", encoding="utf-8")

    def write(self, market: str, account: Account, order: SimOrder | None, burnt_id: str | None) -> None:
        """Append a change of `market` and bring it to the operating system before the answer is sent."""
        line: dict[str, Any] = {"market": market, "account": _account_line(account)}
        if order is not None:
            line["order"] = order_line(order)
        if burnt_id is not None:
            line["burnt_id"] = burnt_id
        self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()

    def write_clock(self, at: datetime) -> None:
        """Append where a clock that is moved by hand stands."""
        self._file.write(json.dumps({"clock": at.isoformat()}) + "\n")
        self._file.flush()

    def write_action(self, action: dict[str, str]) -> None:
        """Append a split or dividend that the exchange was told while it ran."""
        self._file.write(json.dumps({"action": action}) + "\n")
        self._file.flush()

    def actions(self) -> list[dict[str, str]]:
        """What `write_action` was given."""
        return [line["action"] for line in self._lines if "action" in line]

    def write_withdrawn(self, bar: dict[str, str]) -> None:
        """Append a bar that the exchange was told to withdraw."""
        self._file.write(json.dumps({"withdrawn": bar}) + "\n")
        self._file.flush()

    def withdrawn(self) -> list[dict[str, str]]:
        """What `write_withdrawn` was given."""
        return [line["withdrawn"] for line in self._lines if "withdrawn" in line]

    def clock(self) -> datetime | None:
        """Where the clock stood last; None if it was never moved by hand."""
        stood = [line["clock"] for line in self._lines if "clock" in line]
        return datetime.fromisoformat(stood[-1]) if stood else None

    def load(self) -> dict[str, Memory]:
        """What is remembered, by market name."""
        memories: dict[str, Memory] = {}
        for line in self._lines:
            if "market" not in line:
                continue
            market = line["market"]
            memory = memories.setdefault(market, Memory(_read_account(line["account"])))
            memory.account = _read_account(line["account"])
            if "order" in line:
                order = read_order(line["order"])
                memory.orders.append(order)
                memory.used_ids[order.ticket.client_id] = order.venue_id
            if "burnt_id" in line:
                memory.used_ids.setdefault(line["burnt_id"], "")
        return memories

    def clear(self) -> None:
        """Forget everything."""
        self._file.close()
        self._lines = []
        self._rewrite(self._lines)
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        lines: list[dict[str, Any]] = []
        raw = self._path.read_text(encoding="utf-8").split("\n")
        for number, text in enumerate(raw, 1):
            if not text:
                continue
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError as error:
                if number == len(raw):  # written while the process died
                    continue
                msg = f"{self._path} line {number} is no state of the exchange ({error}); remove the file to start anew"
                raise ValueError(msg) from error
        if not lines:
            return []
        header = lines.pop(0)
        if header.get("seed") != self._seed:
            msg = (
                f"{self._path} belongs to seed {header.get('seed')} but the exchange starts with seed {self._seed}; "
                "use that seed, another state_path, or remove the file"
            )
            raise ValueError(msg)
        if header.get("live", []) != self._live:
            was, now = (", ".join(names) or "no market" for names in (header.get("live", []), self._live))
            msg = (
                f"{self._path} belongs to accounts with a venue's real prices for {was}, but the exchange starts with "
                f"them for {now}: holdings bought at other prices; use another state_path (or state.home of the desk), "
                "or remove the file"
            )
            raise ValueError(msg)
        return lines

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        """Replace the file in one step."""
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            header = {"exchange_state": 1, "seed": self._seed} | ({"live": self._live} if self._live else {})
            for line in [header, *lines]:
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


def compact(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that still count: the last of each order, the last accounts and clock, and everything told but once."""
    accounts: dict[str, Any] = {}
    kept: dict[str, dict[str, Any]] = {}
    for line in lines:
        if "market" not in line:
            kept["clock" if "clock" in line else json.dumps(line, sort_keys=True)] = line
            continue
        market = line["market"]
        accounts[market] = line["account"]
        if "order" in line:
            kept[f"{market} order {line['order']['venue_id']}"] = line
        if "burnt_id" in line:
            kept[f"{market} id {line['burnt_id']}"] = line
    return [{**line, "account": accounts[line["market"]]} if "market" in line else line for line in kept.values()]


def _account_line(account: Account) -> dict[str, Any]:
    return {
        "currency": account.currency,
        "cash": str(account.cash),
        "locked": str(account.locked),
        "fees_paid": str(account.fees_paid),
        "holdings": {
            symbol: [str(held.qty), str(held.locked), str(held.avg_price)] for symbol, held in account.holdings.items()
        },
        "splits": sorted(account.splits),
    }


def _read_account(line: dict[str, Any]) -> Account:
    return Account(
        line["currency"],
        Decimal(line["cash"]),
        Decimal(line["locked"]),
        Decimal(line["fees_paid"]),
        {symbol: Holding(*map(Decimal, amounts)) for symbol, amounts in line["holdings"].items()},
        set(line.get("splits", ())),
    )


def order_line(order: SimOrder) -> dict[str, Any]:
    """An order as plain JSON values."""
    return {key: _plain(value) for key, value in asdict(order).items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def read_order(line: dict[str, Any]) -> SimOrder:
    """The order that `order_line` wrote."""
    ticket, expires = line["ticket"], line["expires_at"]
    return SimOrder(
        seq=line["seq"],
        venue_id=line["venue_id"],
        ticket=Ticket(
            ticket["client_id"],
            ticket["symbol"],
            Side(ticket["side"]),
            Kind(ticket["kind"]),
            Force(ticket["force"]),
            _decimal(ticket["qty"]),
            _decimal(ticket["funds"]),
            _decimal(ticket["limit_price"]),
            ticket["wire"],
        ),
        state=OrderState(line["state"]),
        submitted_at=datetime.fromisoformat(line["submitted_at"]),
        updated_at=datetime.fromisoformat(line["updated_at"]),
        looked_until=line["looked_until"],
        expires_at=None if expires is None else datetime.fromisoformat(expires),
        hold_price=Decimal(line["hold_price"]),
        reserved=Decimal(line["reserved"]),
        reserved_qty=Decimal(line["reserved_qty"]),
        filled_qty=Decimal(line["filled_qty"]),
        filled_funds=Decimal(line["filled_funds"]),
        fee=Decimal(line["fee"]),
        fills=tuple(
            Fill(
                fill["fill_id"],
                Decimal(fill["qty"]),
                Decimal(fill["price"]),
                Decimal(fill["fee"]),
                datetime.fromisoformat(fill["at"]),
            )
            for fill in line["fills"]
        ),
    )
