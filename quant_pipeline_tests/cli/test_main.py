"""`quant` itself: what it lists, how fast, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quant_pipeline.cli import main as main_module
from quant_pipeline.cli.errors import BadInputError, CommandError
from quant_pipeline_tests.cli.quant_process import QuantDesk
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests

HEAVY = ("dagster", "pandas", "numpy", "numba", "mlflow", "sqlalchemy", "pydantic", "requests")


def test_the_help_lists_all_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from quant_pipeline.cli.main import main; sys.argv = ['quant', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: print('exit', end.code)\n"
        f"print('heavy', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment_of_tests(),
        timeout=120,
    )
    for command in ("up", "demo", "status", "import", "tick", "backfill", "train", "pause", "exchange", "migrate"):
        assert f"\n  {command} " in done.stdout
    assert "exit 0\nheavy []\n" in done.stdout


def test_the_help_takes_less_than_half_a_second_of_processor_time() -> None:
    code = "import sys, time; from quant_pipeline.cli.main import app; app(['--help'], standalone_mode=False)"
    code += "; print(time.process_time(), file=sys.stderr)"
    times = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment_of_tests()
        )
        times.append(float(done.stderr.split()[-1]))
    assert min(times) < 0.5


@pytest.mark.parametrize("arguments", [["no-such-command"], ["tick"], ["settings", "--no-such-option"]])
def test_a_wrong_command_line_exits_2_and_says_so_on_stderr(desk: QuantDesk, arguments: list[str]) -> None:
    done = desk.run(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert "Usage:" in done.stderr


@pytest.mark.parametrize("arguments", [["settings"], ["status"], ["tick", "us_equity"], ["up"]])
def test_a_settings_file_that_is_missing_exits_2_without_a_traceback(desk: QuantDesk, arguments: list[str]) -> None:
    done = desk.run(*arguments, "--config", "nowhere.toml", "--json")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("quant: settings file nowhere.toml does not exist")
    assert "Traceback" not in done.stderr


def test_an_error_that_nobody_foresaw_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main_module, "app", broken)
    with pytest.raises(ZeroDivisionError):
        main_module.main()


@pytest.mark.parametrize(("error", "code"), [(BadInputError("so wrong"), 2), (CommandError("no way"), 1)])
def test_an_error_for_people_is_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: CommandError, code: int
) -> None:
    def refused() -> None:
        raise error

    monkeypatch.setattr(main_module, "app", refused)
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == code
    assert capsys.readouterr().err == f"quant: {error}\n"


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == 130


def test_the_script_of_the_package_runs_the_same_command() -> None:
    project = (Path(main_module.__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'quant = "quant_pipeline.cli.main:main"' in project
