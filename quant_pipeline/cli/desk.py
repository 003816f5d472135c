"""What commands share of a desk: its settings, the environment of this process, its open database. No commands."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quant_pipeline.cli.errors import BadInputError, CommandError

if TYPE_CHECKING:
    from types import FrameType

    from quant_pipeline.cluster import Databases
    from quant_pipeline.settings import Settings
    from quant_pipeline.storage.database import Database

_KNOWN_WARNING: Final = "Parameter `backfill_policy` of function"
"""Dagster calls this parameter beta, once for each of our assets, at every start."""


def load(config: Path | None, changes: Mapping[str, Any] | None = None) -> Settings:
    """The settings, with `changes` on top; a file named by an option counts for the processes started from here as well.

    Raises:
        SettingsError: they cannot be used.
    """
    from quant_pipeline.settings import load_settings

    settings = load_settings(config, changes=changes)
    if config is not None:
        os.environ["QUANT_CONFIG"] = str(config.resolve())
    return settings


def prepare_process(settings: Settings) -> None:
    """Fix what libraries read when they are imported; to be called before numba, dagster or mlflow are.

    Raises:
        BadInputError: the state folder cannot be made or written.
    """
    from quant_pipeline.runtime.numba_cache import set_numba_cache_dir

    try:
        set_numba_cache_dir(settings.home)
    except OSError as error:
        msg = f"state.home {settings.home} cannot be written ({error.strerror}); name a folder of yours in quant.toml"
        raise BadInputError(msg) from error
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    warnings.filterwarnings("ignore", message=_KNOWN_WARNING)
    given = os.environ.get("PYTHONWARNINGS")
    if given is None or _KNOWN_WARNING not in given:  # for the processes started from here
        os.environ["PYTHONWARNINGS"] = ",".join([*([given] if given else []), f"ignore:{_KNOWN_WARNING}"])


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it started is stopped; the exit code is 0."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    asking = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, end) for number in asking if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def databases_of(settings: Settings) -> Iterator[Databases]:
    """The databases of the desk for the length of a block; the embedded server runs as long as somebody uses it.

    Raises:
        CommandError: the server named in the settings cannot be reached.
    """
    from quant_pipeline.cluster import databases, embedded
    from quant_pipeline.runtime.postgres import login_problem

    try:
        found = databases(settings)
        problem = login_problem(found.admin) if settings.postgres.host else None
        if problem is not None:
            msg = (
                f"PostgreSQL at {found.admin.host}:{found.admin.port} cannot be used: {problem}. Check postgres.host in "
                "quant.toml and POSTGRES_* in the environment or .env; an empty host means the embedded server"
            )
            raise CommandError(msg)
        yield found
    finally:
        if not settings.postgres.host:
            embedded(settings).stop()


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The desk's own database, which must be up to date.

    Raises:
        CommandError: the server cannot be reached, or `quant migrate` is needed.
    """
    from quant_pipeline.runtime.postgres import login_problem
    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.migrate import check_revision

    if not settings.postgres.host and not (settings.home / "postgres").exists():
        msg = (
            f"there is no desk in {settings.home} yet: `quant up` (or `quant migrate`) begins one; to use another one, "
            "go to its folder or name its settings with --config"
        )
        raise CommandError(msg)
    with databases_of(settings) as found:
        if login_problem(found.quant) is not None:
            msg = f"the database {found.quant.database!r} does not exist yet; run `quant migrate` (or `quant up`)"
            raise CommandError(msg)
        check_revision(found.quant)
        with closing(Database(found.quant)) as db:
            yield db
