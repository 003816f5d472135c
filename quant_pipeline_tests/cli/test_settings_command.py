"""`quant settings`: everything but secrets."""

from __future__ import annotations

import json

from quant_pipeline.cli.settings_command import describe
from quant_pipeline.settings import load_settings
from quant_pipeline_tests.cli.quant_process import QuantDesk

SECRETS = {
    "ALPACA_API_KEY": "AKTOPSECRETKEY",
    "ALPACA_API_SECRET": "alpaca-top-secret",
    "UPBIT_OPEN_API_ACCESS_KEY": "upbit-top-access",
    "UPBIT_OPEN_API_SECRET_KEY": "upbit-top-secret",
    "DISCORD_WEBHOOK_URL": "https://discord.example/api/webhooks/1/top-secret",
    "SECRET_KEY": "cookie-top-secret",
    "REDIS_URL": "redis://:redis-top-secret@localhost",
    "POSTGRES_PASSWORD": "pg-top-secret",
    "QUANT__STATE__LAKE": "s3://lake-top-user:lake-top-secret@bucket/lake",
    "QUANT__MARKETS__US_EQUITY__DATA_URL": "https://proxy-top-user:proxy-top-secret@data.example",
}


def test_no_secret_is_printed_in_either_form(desk: QuantDesk) -> None:
    for arguments in ([], ["--json"]):
        done = desk.run("settings", *arguments, env=SECRETS)
        assert done.code == 0, done.stderr
        assert "top-" not in (done.stdout + done.stderr)
        assert "TOPSECRET" not in (done.stdout + done.stderr)


def test_the_json_says_hash_folders_settings_and_which_secrets_are_set(desk: QuantDesk) -> None:
    content = desk.run("settings", "--json", env={"ALPACA_API_KEY": "x"}).json()
    expected = load_settings(desk.folder / "quant.toml", environ=desk.env)
    assert content["hash"] == expected.content_hash()
    assert content["home"] == str(desk.home)
    assert content["settings"]["us_equity"]["symbols"] == ["AAPL", "MSFT", "SPY"]
    assert content["secrets_set"]["alpaca_api_key"] is True
    assert content["secrets_set"]["alpaca_api_secret"] is False
    assert content["secrets_set"]["postgres_password"] is True


def test_nothing_is_written_by_looking(desk: QuantDesk) -> None:
    assert desk.run("settings").code == 0
    assert [path.name for path in desk.folder.iterdir()] == ["quant.toml"]


def test_a_value_out_of_range_exits_2_naming_it(desk: QuantDesk) -> None:
    done = desk.run("settings", "--json", env={"RISK_MAX_POSITIONS": "0"})
    assert (done.code, done.stdout) == (2, "")
    assert "max_positions = '0'" in done.stderr
    assert "Traceback" not in done.stderr


def test_everything_described_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(describe(load_settings(environ={}))))["secrets_set"]["alpaca_paper"] is True
