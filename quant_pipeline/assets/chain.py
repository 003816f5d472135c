"""The session assets after bars, from indicators to performance. Each only says what it is and which step it runs."""

from typing import cast

import dagster as dg

from quant_pipeline.assets.reporting import Schema, report, run_context, sessions_of
from quant_pipeline.assets.spec import ROW_KEY, Shape, asset_arguments, asset_key, session_asset
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.partitions import MODEL_FOR_SESSION
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import book, decisions, features, indicators, orders, performance, predictions, signals


def chain_assets(market: MarketSettings) -> list[dg.AssetsDefinition]:
    """The assets of a market that follow its bars, in the order of the flow."""
    return [
        session_asset(market, _indicators(), indicators.run),
        session_asset(market, _signals(market), signals.run),
        session_asset(market, _features(market), features.run),
        session_asset(market, _predictions(market), predictions.run),
        session_asset(market, _decisions(market), decisions.run),
        session_asset(market, _orders(market), orders.run),
        _book_asset(market),
        session_asset(market, _performance(market), performance.run),
    ]


def _floats(columns: tuple[str, ...], text: str) -> Schema:
    return tuple((name, "double", text) for name in columns)


def _indicators() -> Shape:
    return Shape(
        step=indicators.STEP,
        description=(
            "Indicators of every decision bar (pandas-ta), computed from the month's anchor, so that one session, a "
            "range and a tick give the same bytes, from prices adjusted for splits and dividends to the units of the "
            "session. Sessions whose bars did not change are not recomputed."
        ),
        kinds=frozenset({"pandas", "parquet"}),
        deps=("bars",),
        schema=(*ROW_KEY, *_floats(indicators.COLUMNS, "NaN until there are enough bars")),
    )


def _signals(market: MarketSettings) -> Shape:
    votes = tuple(name for name in signals.COLUMNS if name not in ("vote", "status"))
    return Shape(
        step=signals.STEP,
        description=(
            "Each strategy's vote, the weighted score and the outcome: BUY, SELL or HOLD. Symbols with fewer than "
            f"{market.min_history_sessions} sessions of bars are marked `no_history`."
        ),
        kinds=frozenset({"pandas", "parquet"}),
        deps=(indicators.STEP,),
        schema=(
            *ROW_KEY,
            *_floats(votes, "-1 sell to 1 buy"),
            ("vote", "int8", "the outcome: 1 buy, -1 sell, 0 hold"),
            ("status", "string", "ok or no_history"),
        ),
    )


def _features(market: MarketSettings) -> Shape:
    return Shape(
        step=features.STEP,
        description=(
            f"The inputs of the models: {FEATURE_SET.name} version {FEATURE_SET.version}, daily formulas evaluated at "
            f"every {market.decision_interval} bar, from prices adjusted for splits and dividends to its session's units."
        ),
        kinds=frozenset({"numpy", "parquet"}),
        deps=("bars",),
        schema=(*ROW_KEY, *_floats(features.COLUMNS, "NaN where not defined; never filled in")),
    )


def _predictions(market: MarketSettings) -> Shape:
    return Shape(
        step=predictions.STEP,
        description=(
            "The ensemble's opinion, only where the vote is BUY or SELL; on bars with a BUY the other symbols are "
            "scored for rebalancing. The model is the one that serves the session, never the latest."
        ),
        kinds=frozenset({"lightgbm", "xgboost", "parquet"}),
        deps=(signals.STEP, features.STEP),
        extra_deps=(dg.AssetDep(asset_key(market.name, "model"), partition_mapping=MODEL_FOR_SESSION),),
        schema=(
            *ROW_KEY,
            ("purpose", "string", "signal or rebalance"),
            *_floats(predictions.NUMBERS, "of the horizon, as fractions"),
            ("members_usable", "int64", "members behind the opinion, identical ones counted once"),
            ("model_version_id", "string", "the version that spoke"),
            ("status", "string", "ok, no_model or no_features"),
        ),
    )


def _decisions(market: MarketSettings) -> Shape:
    return Shape(
        step=decisions.STEP,
        description=(
            "The final review of vote and opinion under risk and the state of the book, with a reason code for every "
            "bar, and the shadow book rolled by the same kernel, both on raw prices. A tick also decides the newest "
            f"closed bar for the {market.broker_book} book and writes its intents. Rows are append-only in PostgreSQL. "
            "Needs the session before: the book's state is read from storage."
        ),
        kinds=frozenset({"numba", "postgres"}),
        deps=("bars", signals.STEP, features.STEP, predictions.STEP),
        schema=(
            *ROW_KEY,
            ("action", "int64", "1 buy, -1 sell, 0 none"),
            ("reason", "string", "reason code"),
            ("vote", "int64", "outcome of the weighted vote"),
            *_floats(("qty", "notional", "equity"), "of the shadow book"),
        ),
        pool=f"{market.name}_desk",
    )


def _orders(market: MarketSettings) -> Shape:
    return Shape(
        step=orders.STEP,
        description=(
            f"Orders of the {market.broker_book} book at {market.market.venue} ({market.mode}). Only a tick of the live "
            "chain sends; materializing any session otherwise emits its stored rows, changes nothing and sends nothing."
        ),
        kinds=frozenset({market.market.venue, "postgres"}),
        deps=(decisions.STEP,),
        pool=f"{market.name}_desk",
    )


def _performance(market: MarketSettings) -> Shape:
    return Shape(
        step=performance.STEP,
        description=f"What a session earned in the shadow and the {market.broker_book} book.",
        kinds=frozenset({"pandas", "parquet"}),
        deps=(decisions.STEP, book.STEP),
        schema=(
            ("symbol", "string", "the book"),
            ("ts", "timestamp[ns, UTC]", "start of the session"),
            *(
                (name, "int64" if name == "trades" else "double", f"in {market.market.currency}, returns as fractions")
                for name in performance.COLUMNS
            ),
        ),
    )


def _book_asset(market: MarketSettings) -> dg.AssetsDefinition:
    shape = Shape(
        step=book.STEP,
        description=(
            f"The {market.broker_book} book: fills, positions, equity and risk, compared with the venue at every tick. "
            "A difference pauses entries until a person resumes them."
        ),
        kinds=frozenset({"postgres", market.market.venue}),
        deps=(orders.STEP,),
        pool=f"{market.name}_desk",
    )
    arguments = asset_arguments(market, shape)
    text = "holdings and cash of the ledger equal those of the venue"
    spec = dg.AssetCheckSpec("reconciliation", asset=arguments["key"], description=text)

    @dg.asset(**arguments, check_specs=[spec])
    def materialize(
        context: dg.AssetExecutionContext, desk: dg.ResourceParam[DeskProvider], options: RunOptions
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, dagster reads only the bare class
        opened = desk.get()
        found = book.run(opened, market, sessions_of(context), run_context(context, opened, market, options))
        compared = found.reconciliation
        sentence = (
            "not compared: only a tick of the live chain asks the venue" if compared is None else compared.sentence()
        )
        check = dg.AssetCheckResult(
            passed=compared is None or compared.agrees,
            check_name="reconciliation",
            metadata={"result": dg.MetadataValue.text(sentence)},
        )
        return report(context, found.result, checks=[check])

    return cast(dg.AssetsDefinition, materialize)
