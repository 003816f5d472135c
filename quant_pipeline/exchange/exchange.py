"""The whole exchange in one value: clock, one engine per market, request log. Dialects read it, `server` serves it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from quant_pipeline.exchange.actions import ActionList, ScriptedAction, plain_action, read_action
from quant_pipeline.exchange.bars.acted import ActedBars
from quant_pipeline.exchange.bars.files import FileBars
from quant_pipeline.exchange.bars.generator import GeneratedBars
from quant_pipeline.exchange.bars.source import BarSource
from quant_pipeline.exchange.clock import Clock, parse_time
from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.engine import Engine, EngineRules
from quant_pipeline.exchange.feed import Feed
from quant_pipeline.exchange.journal import Journal
from quant_pipeline.exchange.live.feed import LiveFeed
from quant_pipeline.exchange.live.memory import poll_needs
from quant_pipeline.exchange.matching import MatchRules
from quant_pipeline.exchange.orders import SimOrder
from quant_pipeline.exchange.request_log import RequestLog
from quant_pipeline.exchange.withdrawals import WithdrawnBar, plain_withdrawn, read_withdrawn
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY, Market
from quant_pipeline.markets.rules import fee_rates

if TYPE_CHECKING:
    from quant_pipeline.exchange.live.market import LiveMarket

ALPACA_QTY_DECIMALS = 9
"""Alpaca takes fractions of a share to nine decimals, finer than the lots the desk trades."""


class Exchange:
    """Both venues on one clock."""

    def __init__(self, config: ExchangeConfig) -> None:
        """Open the accounts, or take them up again from `config.state_path`.

        Raises:
            ValueError: the data folder, the state file or a dry run does not fit.
        """
        self.config = config
        self.clock = Clock(config.clock)
        self.log = RequestLog()
        self.engines: dict[str, Engine] = {}
        self.live: dict[str, LiveMarket] = {}
        path = config.state_path
        self._journal = None if path is None else Journal(path, config.seed, config.live_markets)
        told = [] if self._journal is None else [read_action(line) for line in self._journal.actions()]
        self.actions = ActionList((*config.actions, *told))
        self._feeds = {market.name: self._feed(market) for market in (US_EQUITY, KRW_CRYPTO)}
        self.withdrawn: list[WithdrawnBar] = []
        self._open_accounts()
        if self._journal is not None:
            self._resume(self._journal)

    @property
    def us(self) -> Engine:
        """The stock account behind Alpaca's dialect."""
        return self.engines[US_EQUITY.name]

    @property
    def krw(self) -> Engine:
        """The crypto account behind Upbit's dialect."""
        return self.engines[KRW_CRYPTO.name]

    def now(self) -> datetime:
        """The present time, with everything that is due up to it done."""
        at = self.clock.now()
        for engine in self.engines.values():
            engine.advance(at)
        return at

    def live_needs(self, market: str) -> dict[str, int | None]:
        """What the account of a market needs prices for: see `live.memory.poll_needs`."""
        self.now()
        engine = self.engines[market]
        return poll_needs(engine.open_orders(), engine.account.holdings)

    def move_clock(self, *, to: datetime | None = None, seconds: float = 0.0) -> None:
        """Move a clock that is moved by hand, to a time or so many seconds ahead.

        Raises:
            ClockError: the clock follows the wall, or would go back.
        """
        at = self.clock.advance(seconds) if to is None else self.clock.set(to)
        if self._journal is not None:
            self._journal.write_clock(at)

    def add_action(self, action: ScriptedAction) -> None:
        """Let a stock go through a split or a dividend that is still to come.

        Raises:
            ValueError: the stock is not listed or not worth so much, or the day has opened: seen prices stay.
        """
        if not self.us.feed.lists(action.symbol):
            msg = f"{action.symbol} is not listed; name one of {', '.join(sorted(self.us.feed.listed))}"
            raise ValueError(msg)
        if action.effective <= self.now().timestamp():
            msg = f"{action.ex_date} has opened at the exchange's time {self.clock.now().isoformat()}; name a later day"
            raise ValueError(msg)
        tick = self.us.feed.tick(action.symbol, self.clock.now())
        if action.amount is not None and tick is not None and action.amount >= tick.price:
            msg = f"a dividend of {action.amount} is not less than the price of {action.symbol}, {tick.price}"
            raise ValueError(msg)
        self.actions.add(action)
        if self._journal is not None:
            self._journal.write_action(plain_action(action))

    def withdraw_bar(self, bar: WithdrawnBar) -> None:
        """Take a bar back that was shown, as a venue does that finds it wrong; it is never shown again.

        Raises:
            ValueError: there is no such bar to be seen now, or the market shows a venue's own bars.
        """
        feed = self._feeds.get(bar.market)
        if feed is None or bar.market in self.live:
            names = ", ".join(sorted(self._feeds.keys() - self.live.keys())) or "none"
            msg = f"bars of {bar.market} cannot be withdrawn here; markets with prices of the exchange's own: {names}"
            raise ValueError(msg)
        seen = feed.lists(bar.symbol) and len(feed.bars(bar.symbol, bar.seconds, bar.stamp, bar.stamp + 1, self.now()))
        if not seen:
            msg = f"{bar.symbol} shows no {bar.interval} bar that starts at {bar.starts.isoformat()}; name one that it shows"
            raise ValueError(msg)
        self._hide(bar)
        if self._journal is not None:
            self._journal.write_withdrawn(plain_withdrawn(bar))

    def _hide(self, bar: WithdrawnBar) -> None:
        self.withdrawn.append(bar)
        self._feeds[bar.market].withdraw(bar.symbol, bar.seconds, bar.stamp)

    def reset(self) -> None:
        """Empty accounts, orders and the request log; the clock and the prices stay."""
        self.log = RequestLog()
        if self._journal is not None:
            self._journal.clear()
            for action in self.actions.all():
                self._journal.write_action(plain_action(action))
            for bar in self.withdrawn:
                self._journal.write_withdrawn(plain_withdrawn(bar))
            if self.clock.mode == "manual":
                self._journal.write_clock(self.clock.now())
        self._open_accounts()

    def close(self) -> None:
        """Close the state file."""
        if self._journal is not None:
            self._journal.close()

    def _feed(self, market: Market) -> Feed:
        config = self.config
        stocks = market.venue == "alpaca"
        half_spread = config.half_spread_bp_us if stocks else config.half_spread_bp_krw
        source: BarSource
        folder = None if config.data_dir is None else config.data_dir / market.name
        if market.name in config.live_markets:
            if folder is not None and folder.is_dir():
                msg = (
                    f"data_dir holds bars of {market.name} and live_{market.name} names a venue; leave one of them out"
                )
                raise ValueError(msg)
            from quant_pipeline.exchange.live.factory import live_market  # with its HTTP client, for a dry run only

            self.live[market.name] = live_market(market, config, self.clock.now)
            return LiveFeed(self.live[market.name].memory, half_spread)
        if folder is not None and folder.is_dir():
            source = FileBars(market, folder)
        else:
            source = GeneratedBars(market, config.seed, config.us_symbols if stocks else config.krw_symbols)
            source = ActedBars(source, self.actions) if stocks else source
        return Feed(source, half_spread)

    def _open_accounts(self) -> None:
        config = self.config
        for market, cash in ((US_EQUITY, config.usd_cash), (KRW_CRYPTO, config.krw_cash)):
            engine = Engine(self._feeds[market.name], engine_rules(market, config.max_participation), cash, config.seed)
            engine.on_change = Recorder(self._journal, market.name, engine)
            if market.venue == "alpaca":
                engine.actions = self.actions
            self.engines[market.name] = engine

    def _resume(self, journal: Journal) -> None:
        for line in journal.withdrawn():
            self._hide(read_withdrawn(line))
        for market, memory in journal.load().items():
            self.engines[market].restore(memory.account, memory.orders, memory.used_ids)
        stood = journal.clock()
        if self.clock.mode == "manual" and stood is not None:
            self.clock.set(max(self.clock.now(), stood))


class Recorder:
    """Writes each change of one engine to the journal, if there is one."""

    def __init__(self, journal: Journal | None, market: str, engine: Engine) -> None:
        """Record changes of `engine` under the name `market`."""
        self._journal = journal
        self._market = market
        self._engine = engine

    def __call__(self, order: SimOrder | None, burnt_id: str | None) -> None:
        """Record that `order` changed, or that an id was used up."""
        if self._journal is not None:
            self._journal.write(self._market, self._engine.account, order, burnt_id)


def engine_rules(market: Market, max_participation: Decimal | None) -> EngineRules:
    """How each venue treats orders. Alpaca charges nothing here, like its own paper account."""
    if market.venue == "alpaca":
        match, free = MatchRules(ALPACA_QTY_DECIMALS, max_participation), (Decimal(0), Decimal(0))
        return EngineRules(match, free, burns_ids=False, refuses_wash_trades=True, keeps_remainder=False)
    rates = fee_rates(market, parse_time("2025-08-01").date())
    fees = (Decimal(repr(rates.buy_rate)), Decimal(repr(rates.sell_rate)))
    match = MatchRules(market.qty_decimals, max_participation)
    return EngineRules(match, fees, burns_ids=True, refuses_wash_trades=False, keeps_remainder=True)
