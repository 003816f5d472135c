"""Make a child process end when its parent dies, however it dies; done by the kernel, on Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def _prctl() -> Any:  # noqa: ANN401 - a C function
    """The C function, None where the system has none; looked up before a fork, never after."""
    return ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A function to run in a fresh child (`preexec_fn`): the kernel sends `number` when the calling thread is gone.

    The request is bound to the *thread* that started the child, and is lost when the child changes its user later.
    Where the system cannot do this, the function does nothing.
    """
    prctl = _prctl()
    parent = os.getpid()

    def request() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:  # the parent died before the request was made
                os.kill(os.getpid(), number)

    return request


def request_own_death_signal(number: signal.Signals) -> None:
    """Ask the kernel to send `number` to this process when its parent's starting thread is gone (Linux only)."""
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent dies; whether the system can do this (Linux)."""
    prctl = _prctl()
    return prctl is not None and prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
