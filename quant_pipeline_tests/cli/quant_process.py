"""Running `quant` as a person does: a process in a folder with a settings file. No assertions about commands here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests

SECONDS = 240.0
"""For one command; machines that run many things at once are slow."""

SETTINGS = """
[markets.us_equity]
symbols = ["AAPL", "MSFT", "SPY"]
history_start = 2026-02-02
[markets.krw_crypto]
symbols = ["KRW-BTC", "KRW-ETH"]
history_start = 2026-02-01
[ports]
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Its stdout, which must be one JSON document."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class QuantDesk:
    """A folder with a `quant.toml`, and what its commands find in the environment."""

    folder: Path
    env: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.folder / ".quant"

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        """One command to its end."""
        with self.start(*arguments, env=env) as process:
            stdout, stderr = process.communicate(timeout=SECONDS)
        return Done(process.returncode, stdout, stderr)

    @contextmanager
    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command while it runs; killed at the end if it still does."""
        process = subprocess.Popen(
            [sys.executable, "-m", "quant_pipeline.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**environment_of_tests(), **self.env, **(env or {})},
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def read_document(process: subprocess.Popen[str]) -> Any:
    """The JSON document that a running process prints first; fails when it ends before."""
    assert process.stdout is not None
    text = ""
    while line := process.stdout.readline():
        text += line
        if line == "}\n":
            return json.loads(text)
    message = f"the process ended with {process.wait()} after printing {text!r}"
    raise AssertionError(message)


def processes_of(folder: Path) -> dict[int, str]:
    """Living processes that belong to a desk in `folder`: by their command line or by what they were told."""
    found = {}
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            home = process.environ().get("QUANT__STATE__HOME", "")
        except psutil.Error:
            continue
        if process.pid != os.getpid() and (str(folder) in command or home.startswith(str(folder))):
            found[process.pid] = command
    return found


def wait_until_gone(folder: Path, *, seconds: float) -> dict[int, str]:
    """Wait until no process of the desk is left; returns those that are."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
