"""Which errors a person is told in a sentence, and with which exit code; all others keep their traceback."""

from __future__ import annotations

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


class CommandError(Exception):
    """A command could not do what was asked; the text says why and what helps. Exit code 1."""

    exit_code = FAILED


class BadInputError(CommandError):
    """An option, argument or setting cannot be used; the text names the value and the fix. Exit code 2."""

    exit_code = BAD_INPUT


def told(error: Exception) -> tuple[int, str] | None:
    """The exit code and the sentence for an error that a person can act on; None for a fault of the program."""
    if isinstance(error, CommandError):
        return error.exit_code, str(error)
    from quant_pipeline.runtime.errors import PortBusyError, RuntimeProblemError
    from quant_pipeline.settings import SettingsError
    from quant_pipeline.storage.errors import SchemaVersionError

    if isinstance(error, SettingsError | PortBusyError):
        return BAD_INPUT, str(error)
    if isinstance(error, RuntimeProblemError | SchemaVersionError):
        return FAILED, str(error)
    return None
