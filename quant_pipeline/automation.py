"""Jobs, schedules and sensors of a market: when runs start and which partitions they name. What runs do is in `assets`.

The names are those of the original systems with the market behind them. Only the live chain may send orders; it is
tagged so that one run per market is under way at a time, whoever launched it, and is never retried by the daemon.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from quant_pipeline.assets.spec import asset_key
from quant_pipeline.markets import calendar
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.restating import RESTATE_TAG, changed_bars_sensor
from quant_pipeline.runs import job_name, range_request, run_in_progress
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.failures import note_failed_run
from quant_pipeline.steps.repair import Repair, outlook
from quant_pipeline.steps.timing import month_of, tick_session

CHAIN = ("bars", "indicators", "signals", "features", "predictions", "decisions", "orders", "book", "performance")
PREPARED = ("bars", "indicators", "signals", "features")
DECIDED = ("predictions", "decisions", "performance")
RECOMPUTED = ("bars", "indicators", "signals", "features", "predictions", "decisions", "performance")
REPAIRS_AT_ONCE = 10
"""Runs that one look for holes may start; what is left comes with the next."""


def jobs(market: MarketSettings) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of a market. Session jobs and training jobs have different partitions, hence different jobs."""
    desk = {"quant/desk": market.name, "dagster/max_retries": "0"}
    training = {"quant/training": market.name}
    return [
        _job(market, "smart_trading_pipeline", CHAIN, desk, "One tick of the live chain: bars to orders and the book."),
        _job(
            market,
            "prepare",
            PREPARED,
            {},
            "What models are trained from: bars to features, without deciding anything.",
        ),
        _job(
            market, "decide", DECIDED, {}, "Opinions, decisions and the shadow book over sessions whose features exist."
        ),
        _job(
            market,
            "repair_bars",
            ("bars",),
            {"dagster/max_retries": "0"},
            "Ask the venue for sessions with unexplained holes; whatever that changes is then recomputed by `restate`.",
        ),
        _job(market, "restate", RECOMPUTED, {RESTATE_TAG: market.name}, "Recompute what depends on changed bars."),
        _job(
            market,
            "daily_model_finetuning",
            ("model_update",),
            training,
            "Fine-tune each model with the session's bars.",
        ),
        _job(
            market, "optimize_hyperparameters", ("hyperparameters", "model"), training, "Tune, train, judge, promote."
        ),
        _job(market, "weekly_retraining", ("model",), training, "Train the models of a month, judge, promote."),
    ]


def _job(
    market: MarketSettings, kind: str, steps: Sequence[str], tags: dict[str, str], description: str
) -> UnresolvedAssetJobDefinition:
    selection = dg.AssetSelection.assets(*(asset_key(market.name, step) for step in steps))
    return dg.define_asset_job(job_name(market, kind), selection, tags=tags, description=description)


def schedules(market: MarketSettings) -> list[dg.ScheduleDefinition]:
    """The schedules of a market. All start stopped: a person switches them on in the UI, or `quant up` does."""
    return [_tick_schedule(market), *_training_schedules(market)]


def sensors(market: MarketSettings, market_jobs: Sequence[UnresolvedAssetJobDefinition]) -> list[dg.SensorDefinition]:
    """The sensors of a market, which launch some of its jobs."""
    return [changed_bars_sensor(market, market_jobs), _repair_bars_sensor(market)]


def tick_config() -> dg.RunConfig:
    """The run config of a tick of the live chain."""
    return dg.RunConfig(resources={"options": RunOptions(tick=True)})


def tick_request(market: MarketSettings, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """The run of the tick at `at`, or why there is none: the market is closed and its close was dealt with."""
    skip = closed_reason(market, at)
    if skip is not None:
        return dg.SkipReason(skip)
    session = tick_session(market, at)
    return dg.RunRequest(
        run_key=f"{market.name}:{at.astimezone(UTC).isoformat()}",
        partition_key=session.isoformat(),
        run_config=tick_config(),
        tags={"quant/tick": at.astimezone(UTC).isoformat()},
    )


def closed_reason(market: MarketSettings, at: datetime) -> str | None:
    """Why no tick is due at `at`; None while the market is open and for one tick after its close."""
    name = market.market.calendar
    if name == "always" or calendar.is_open(name, at):
        return None
    last = calendar.session_hours(name, calendar.last_closed_session(name, at))
    interval = timedelta(minutes=market.tick_minutes)
    if last.closes_at + interval <= at < last.closes_at + 2 * interval:
        return None
    upcoming = calendar.session_hours(name, calendar.session_at(name, at))
    closed, opens = f"{last.closes_at:%Y-%m-%d %H:%M} UTC", f"{upcoming.opens_at:%Y-%m-%d %H:%M} UTC"
    return f"{market.name} is closed: it closed at {closed} and opens at {opens}"


def _tick_schedule(market: MarketSettings) -> dg.ScheduleDefinition:
    hours = "*" if market.market.calendar == "always" else "9-17"
    days = "*" if market.market.calendar == "always" else "1-5"
    zone = "UTC" if market.market.calendar == "always" else market.market.timezone
    minutes = "0" if market.tick_minutes == 60 else f"*/{market.tick_minutes}"
    name = job_name(market, "smart_trading_pipeline")

    @dg.schedule(
        name=f"{name}_schedule",
        job_name=name,
        cron_schedule=f"{minutes} {hours} * * {days}",
        execution_timezone=zone,
        description="A tick of the live chain while the market is open and one after its close; late ticks are dropped.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        busy = run_in_progress(context.instance, name)
        if busy is not None:
            return dg.SkipReason(f"run {busy} of {name} is still in progress; this tick is dropped")
        return tick_request(market, context.scheduled_execution_time)

    return tick


def _training_schedules(market: MarketSettings) -> list[dg.ScheduleDefinition]:
    """Tuning in the night before a month begins to be served, training weekly, fine-tuning after each close.

    They share one limit (`quant/training`), so they queue behind one another and never race.
    """
    zone = market.market.timezone
    tuned = job_name(market, "optimize_hyperparameters")
    trained = job_name(market, "weekly_retraining")
    updated = job_name(market, "daily_model_finetuning")

    @dg.schedule(
        name=f"{tuned}_schedule",
        job_name=tuned,
        cron_schedule="30 0 1 * *",
        execution_timezone="UTC",
        description="On the first of a month: tune and train for the month that begins, with nothing but earlier months.",
    )
    def tune(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return _month_request(tuned, context.scheduled_execution_time)

    @dg.schedule(
        name=f"{trained}_schedule",
        job_name=trained,
        cron_schedule="0 8 * * 0",
        execution_timezone="UTC",
        description="Every Sunday: retrain the month's models if their training data changed, and those that are missing.",
    )
    def train(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return _month_request(trained, context.scheduled_execution_time)

    @dg.schedule(
        name=f"{updated}_schedule",
        job_name=updated,
        cron_schedule="0 18 * * 1-5" if market.market.calendar == "nyse" else "30 9 * * *",
        execution_timezone=zone,
        description="After the close: fine-tune with the session that ended; the result serves from the next session on.",
    )
    def update(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time
        session = calendar.last_closed_session(market.market.calendar, at)
        if at - calendar.session_hours(market.market.calendar, session).closes_at >= timedelta(days=1):
            return dg.SkipReason(
                f"no session of {market.name} ended since the last fine-tuning (the last was {session})"
            )
        return dg.RunRequest(run_key=f"{updated}:{session}", partition_key=session.isoformat())

    return [tune, train, update]


def _month_request(job: str, at: datetime) -> dg.RunRequest:
    month = month_of(at.astimezone(UTC).date())
    return dg.RunRequest(run_key=f"{job}:{at.astimezone(UTC).isoformat()}", partition_key=month.isoformat())


def _repair_bars_sensor(market: MarketSettings) -> dg.SensorDefinition:
    name = job_name(market, "repair_bars")

    @dg.sensor(
        name=name,
        job_name=name,
        minimum_interval_seconds=300,
        description=(
            "Sessions that were never fetched, were fetched in part, or were imported with holes: ask the venue for "
            f"exactly those, up to {market.quality.repair_tries} times, with longer and longer waits."
        ),
    )
    def repair_bars(
        context: dg.SensorEvaluationContext, desk: dg.ResourceParam[DeskProvider]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        if run_in_progress(context.instance, name) is not None:
            return dg.SkipReason(f"{name} is still in progress; looking again afterwards")
        opened = desk.get()
        found = outlook(opened, market, opened.clock(market))
        if not found.due:
            return dg.SkipReason(found.sentence())
        return [repair_request(one) for one in found.repairs(market)[:REPAIRS_AT_ONCE]]

    return repair_bars


def repair_request(repair: Repair) -> dg.RunRequest:
    """The run that fills the holes of some neighbouring sessions, of the symbols that have them."""
    config = dg.RunConfig(resources={"options": RunOptions(symbols=list(repair.symbols), repair=True)})
    return range_request(repair.first, repair.last, run_config=config)


def failure_sensor() -> dg.SensorDefinition:
    """Every run that failed becomes a notification in the outbox, once, whoever launched it."""

    @dg.run_failure_sensor(
        name="run_failure",
        description="Puts each failed run into the notification outbox; sending it is another process's business.",
    )
    def run_failure(context: dg.RunFailureSensorContext, desk: dg.ResourceParam[DeskProvider]) -> None:
        run = context.dagster_run
        note_failed_run(
            desk.get(),
            run_id=run.run_id,
            job=run.job_name,
            market=run.tags.get("quant/desk", ""),
            message=context.failure_event.message or "no message",
        )

    return run_failure
