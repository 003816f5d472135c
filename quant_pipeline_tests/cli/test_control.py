"""`quant pause`, `resume`, `halt`: the switch as a person turns it, and what `quant status` shows of it."""

from __future__ import annotations

from quant_pipeline_tests.cli.quant_process import QuantDesk


def test_a_market_and_the_desk_are_switched_and_the_stricter_one_counts(migrated_desk: QuantDesk) -> None:
    paused = migrated_desk.run("pause", "krw_crypto", "--note", "lunch", "--json")
    assert paused.code == 0, paused.stderr
    content = paused.json()["krw_crypto"]
    assert (content["state"], content["note"], content["set_for"]) == ("paused", "lunch", "krw_crypto")
    assert content["actor"].startswith("cli:")

    halted = migrated_desk.run("halt", "all", "--json").json()
    assert {name: row["state"] for name, row in halted.items()} == {"us_equity": "halted", "krw_crypto": "halted"}

    resumed = migrated_desk.run("resume", "krw_crypto")
    assert resumed.code == 0
    assert "krw_crypto stays halted: that is set for all" in resumed.stdout

    assert migrated_desk.run("resume", "all", "--note", "back").code == 0
    status = migrated_desk.run("status", "--json")
    assert status.code == 0, status.stderr
    assert [row["control"] for row in status.json()["markets"]] == ["running", "running"]


def test_an_unknown_market_exits_2(desk: QuantDesk) -> None:
    done = desk.run("halt", "everything", "--json")
    assert (done.code, done.stdout) == (2, "")
    assert "market 'everything' is unknown" in done.stderr
