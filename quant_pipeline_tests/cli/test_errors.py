"""Which errors are told in a sentence."""

from __future__ import annotations

import pytest

from quant_pipeline.cli.errors import BadInputError, CommandError, told
from quant_pipeline.dagster_instance import DeskStorageError
from quant_pipeline.runtime.errors import ChildFailedError, PortBusyError
from quant_pipeline.settings import SettingsError
from quant_pipeline.storage.errors import CorruptObjectError, SchemaVersionError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInputError("x"), 2),
        (SettingsError("x"), 2),
        (PortBusyError("x"), 2),
        (CommandError("x"), 1),
        (ChildFailedError("x"), 1),
        (DeskStorageError("x"), 1),
        (SchemaVersionError("x"), 1),
    ],
)
def test_what_a_person_can_act_on_is_told(error: Exception, code: int) -> None:
    assert told(error) == (code, "x")


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), CorruptObjectError("x"), RuntimeError("x")])
def test_faults_of_the_program_are_not(error: Exception) -> None:
    assert told(error) is None
