"""What the processes of a desk are started with: which desk they belong to, and nothing secret where `ps` shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quant_pipeline.cli import services
from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.dagster_instance import instance_config
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.cli.conftest import write_settings

DSN = Dsn("127.0.0.1", 5432, "me", "pg-top-secret", "quant_mlflow")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    write_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("ALPACA_API_SECRET", "UPBIT_OPEN_API_SECRET_KEY"):
        monkeypatch.setenv(name, "top-secret")
    return load_settings()


def all_services(settings: Settings) -> list[services.Service]:
    workspace = services.write_workspace(settings, 4711)
    return [
        services.exchange(settings),
        services.mlflow(settings, DSN),
        services.code_server(settings, 4711),
        services.webserver(settings, workspace, read_only=False),
        services.webserver(settings, workspace, read_only=True),
        services.daemon(settings, workspace, lambda: True),
    ]


def test_nothing_confidential_is_on_a_command_line_or_in_a_file(settings: Settings) -> None:
    for service in all_services(settings):
        assert "secret" not in " ".join(service.argv).lower(), service.name
    for path in settings.home.rglob("*.*"):
        assert "top-secret" not in path.read_text(encoding="utf-8"), path
    assert "pg-top-secret" in services.mlflow(settings, DSN).env["MLFLOW_BACKEND_STORE_URI"]


def test_every_process_is_told_which_desk_it_belongs_to(settings: Settings, tmp_path: Path) -> None:
    for service in all_services(settings):
        found = load_settings(environ=service.env)
        assert (found.home, found.root) == (tmp_path / ".quant", tmp_path)
        assert found.content_hash() == settings.content_hash()
        assert service.env["QUANT_DAGSTER_STATE"] == str(tmp_path / ".quant" / "dagster")


def test_no_dotenv_lies_where_they_run_because_dagster_would_prefer_its_blanks(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("ALPACA_API_SECRET=\n", encoding="utf-8")
    folder = services.working_folder(settings)
    assert folder.is_dir()
    assert not (folder / ".env").exists()


def test_the_workspace_leads_to_the_code_server(settings: Settings) -> None:
    path = services.write_workspace(settings, 4711)
    (entry,) = json.loads(path.read_text(encoding="utf-8"))["load_from"]
    assert entry == {"grpc_server": {"host": "127.0.0.1", "port": 4711, "location_name": "quant_pipeline"}}


def test_a_dagster_yaml_of_the_project_counts_and_otherwise_our_own(settings: Settings, tmp_path: Path) -> None:
    ours = json.loads((services.dagster_home(settings) / "dagster.yaml").read_text(encoding="utf-8"))
    assert ours == instance_config(settings, launcher="warm")
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    copied = services.dagster_home(settings)
    assert (copied / "dagster.yaml").read_text(encoding="utf-8") == "telemetry: {enabled: false}\n"
    assert copied != tmp_path


def test_the_exchange_keeps_its_accounts_and_gets_the_watch_list(settings: Settings) -> None:
    option = services.exchange(settings).argv[-1]
    told = json.loads(Path(option.removeprefix("@")).read_text(encoding="utf-8"))
    assert told["state_path"] == str(settings.home / "exchange.journal")
    assert told["alpaca_port"] == settings.ports.exchange_alpaca
    assert set(settings.us_equity.symbols) <= set(told["us_symbols"])


def test_a_dry_run_is_started_with_its_venues_and_its_keys_in_the_environment_alone(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("ALPACA_API_KEY=key-of-dotenv\nALPACA_API_SECRET=top-secret\n", encoding="utf-8")
    urls = {"live_us_equity": "https://data.alpaca.markets", "live_krw_crypto": "https://api.upbit.com"}
    service = services.exchange(load_settings(changes={"exchange": urls}))
    told = json.loads(Path(service.argv[-1].removeprefix("@")).read_text(encoding="utf-8"))
    assert {name: told[name] for name in urls} == urls
    assert told["us_symbols"] == list(settings.us_equity.symbols)
    assert (service.env["ALPACA_API_KEY"], service.env["ALPACA_API_SECRET"]) == ("key-of-dotenv", "top-secret")
    assert not [text for text in ("key-of-dotenv", "top-secret") if text in json.dumps(told) + " ".join(service.argv)]
    usual = services.exchange(settings)
    assert "key-of-dotenv" not in json.dumps(usual.env)


def test_a_dry_run_without_keys_is_refused_before_anything_starts(settings: Settings) -> None:
    told = {"exchange": {"live_us_equity": "https://data.alpaca.markets"}}
    with pytest.raises(BadInputError, match="set ALPACA_API_KEY and ALPACA_API_SECRET"):
        services.exchange(load_settings(changes=told))


def test_log_names_are_file_names(settings: Settings) -> None:
    names = [service.log_name for service in all_services(settings)]
    assert names == [
        "simulated-exchange",
        "mlflow",
        "code-server",
        "dagster",
        "dagster-read-only",
        "dagster-daemon",
    ]
