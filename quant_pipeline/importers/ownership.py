"""Whose bars a file holds: symbols from a column, the caller, the family or the file name, and their market."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from quant_pipeline.importers.judge import Judge
from quant_pipeline.importers.naming import normal_symbol, symbol_in
from quant_pipeline.importers.recognise import Recognised
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY

_PAIR = "KRW-"


@dataclass(frozen=True, slots=True)
class Owner:
    """Rows with a valid `symbol` column and the market that all of them belong to."""

    frame: pd.DataFrame
    market: str


def select_symbol(frame: pd.DataFrame, judge: Judge, symbol: str | None) -> pd.DataFrame:
    """Rows of the symbol that was asked for, from a file with a symbol column; all rows otherwise.

    Raises:
        ImportRefused: the file has a symbol column and no row of that symbol.
    """
    if symbol is None or "symbol" not in frame.columns:
        return frame
    wanted = _asked_symbol(symbol)
    texts = frame["symbol"].fillna("").astype(str)
    names = texts.map({text: normal_symbol(text) for text in texts.unique()})
    if not (names == wanted).any():
        held = sorted({name for name in names.unique() if isinstance(name, str)})
        judge.refuse(
            f"the file holds no row of {wanted}", remedy="Ask for a symbol that it holds.", value=", ".join(held)
        )
    return frame.loc[(names == wanted).to_numpy()].reset_index(drop=True)


def owner_of(frame: pd.DataFrame, found: Recognised, judge: Judge, *, market: str | None, symbol: str | None) -> Owner:
    """Fill in symbol and market.

    Args:
        frame: rows, with column symbol if the file has one.
        found: the recognised file.
        judge: decides what a row with an impossible symbol does.
        market: the market that the caller named.
        symbol: the symbol that the caller named.

    Raises:
        ImportRefused: no symbol can be told, or symbols and market do not fit together.
        ValueError: the symbol that was asked for cannot be one.
    """
    if "symbol" in frame.columns:
        frame = _normalised(frame, judge)
    else:
        frame = frame.assign(symbol=_file_symbol(found, judge, symbol))
    return Owner(frame, _market(sorted(frame["symbol"].unique()), judge, market))


def _normalised(frame: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    texts = frame["symbol"].fillna("").astype(str)
    names = texts.map({text: normal_symbol(text) for text in texts.unique()})
    frame = frame.assign(symbol=names)
    return judge.drop(frame, names.isna().to_numpy(), "symbol", "this cannot be a symbol")


def _asked_symbol(symbol: str) -> str:
    name = normal_symbol(symbol)
    if name is None:
        msg = f"{symbol!r} cannot be a symbol; write for example AAPL or KRW-BTC"
        raise ValueError(msg)
    return name


def _file_symbol(found: Recognised, judge: Judge, symbol: str | None) -> str:
    if symbol is not None:
        return _asked_symbol(symbol)
    name = found.layout.file_symbol or symbol_in(found.peek.name)
    if name is None:
        judge.refuse(
            "the file does not say whose bars it holds",
            remedy="Pass --symbol, name the file like AAPL.csv or KRW-BTC_1h.csv, or add a symbol column.",
        )
    return name


def _market(symbols: list[str], judge: Judge, market: str | None) -> str:
    pairs = [name for name in symbols if name.startswith(_PAIR)]
    stocks = [name for name in symbols if not name.startswith(_PAIR)]
    if pairs and stocks:
        judge.refuse(f"the file mixes KRW pairs ({pairs[0]}) and stocks ({stocks[0]})", remedy="Split it by market.")
    fitting = KRW_CRYPTO.name if pairs else US_EQUITY.name
    if market is not None and market != fitting:
        help_krw, help_us = "Pass --symbol KRW-XXX.", "Leave --market out or pass krw_crypto."
        remedy = help_krw if market == KRW_CRYPTO.name else help_us
        judge.refuse(f"{symbols[0]} is no symbol of {market}", remedy=remedy)
    return fitting
