"""Loopback ports: who has one, which are free, and what a person is told."""

from __future__ import annotations

import os
import socket

import psutil
import pytest

from quant_pipeline.runtime import ports
from quant_pipeline.runtime.errors import PortBusyError
from quant_pipeline.runtime.ports import (
    LOOPBACK,
    accepts_connections,
    choose_free_port,
    is_port_free,
    port_owner,
    require_free_port,
)


@pytest.mark.parametrize("address", [LOOPBACK, "0.0.0.0"])
def test_a_busy_port_is_named_with_setting_and_owner(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = int(server.getsockname()[1])
        assert not is_port_free(port)
        assert accepts_connections(port)
        with pytest.raises(PortBusyError) as caught:
            require_free_port(port, "ports.dagster")
    message = str(caught.value)
    assert f"port {port} of setting 'ports.dagster'" in message
    assert f"{psutil.Process().name()} (pid {os.getpid()})" in message
    require_free_port(port, "ports.dagster")


def test_an_owner_that_may_not_be_seen_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(ports.psutil, "net_connections", refuse)
    with socket.create_server((LOOPBACK, 0)) as server:
        port = int(server.getsockname()[1])
        assert port_owner(port) is None
        with pytest.raises(PortBusyError, match=f"port {port} of setting 'x' is in use by another process"):
            require_free_port(port, "x")


def test_a_port_whose_connections_were_just_closed_is_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = int(server.getsockname()[1])
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()  # the server closes first, so its side stays in TIME_WAIT
        client.recv(1)
        client.close()
    assert is_port_free(port)


def test_nobody_owns_a_free_port() -> None:
    port = choose_free_port()
    assert port_owner(port) is None
    assert not accepts_connections(port)


def test_chosen_ports_avoid_the_outgoing_range_and_what_is_named() -> None:
    port = choose_free_port()
    assert 15_000 <= port < 30_000
    with pytest.raises(PortBusyError, match="no free port"):
        choose_free_port(avoid=frozenset(range(15_000, 30_000)))
