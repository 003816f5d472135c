"""`quant demo`: what is refused before anything is started; the demo itself is tested end to end elsewhere."""

from __future__ import annotations

import pytest

from quant_pipeline_tests.cli.quant_process import QuantDesk


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere"], "--data 'nowhere' is not a folder"),
        (["--sessions", "0"], "--sessions"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "none"], "--threads"),
    ],
)
def test_options_that_cannot_be_meant_exit_2(desk: QuantDesk, arguments: list[str], said: str) -> None:
    done = desk.run("demo", *arguments, "--json")
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not desk.home.exists()
