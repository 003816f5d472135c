"""The errors of this package; each message says what is wrong and what to do about it. No logic."""

from __future__ import annotations


class RuntimeProblemError(RuntimeError):
    """Base of everything that this package raises on purpose; the text is fit for a person."""


class EmbeddedPostgresError(RuntimeProblemError):
    """The embedded PostgreSQL cannot be set up, started or reached."""


class PortBusyError(RuntimeProblemError):
    """A configured port is taken by somebody else."""


class ChildFailedError(RuntimeProblemError):
    """A child process ended, or did not become ready in time."""


class RunLaunchError(RuntimeProblemError):
    """The warm launcher cannot start a run."""
