"""Connection strings."""

from __future__ import annotations

import pytest

from quant_pipeline.storage.dsn import Dsn

_AWKWARD = Dsn("db.example", 5433, "a@b", "p:/?# %+", "na/me")


def test_password_never_appears_in_repr() -> None:
    dsn = Dsn("localhost", 5432, "quant", "hunter2", "desk")
    assert "hunter2" not in repr(dsn)
    assert "hunter2" not in str(dsn)


def test_sqlalchemy_url_names_the_driver_and_survives_awkward_characters() -> None:
    assert _AWKWARD.sqlalchemy().startswith("postgresql+psycopg2://")
    assert Dsn.parse(_AWKWARD.sqlalchemy()) == _AWKWARD


def test_adbc_url_sets_utc_and_keeps_other_server_options() -> None:
    dsn = Dsn("h", 1, "u", "p", "d", (("sslmode", "require"), ("options", "-c work_mem=8MB")))
    parsed = Dsn.parse(dsn.adbc())
    assert dict(parsed.options) == {"sslmode": "require", "options": "-c work_mem=8MB -c TimeZone=UTC"}
    assert "+" not in dsn.adbc()


def test_with_database_changes_only_the_database() -> None:
    assert _AWKWARD.with_database("x") == Dsn("db.example", 5433, "a@b", "p:/?# %+", "x")


def test_parse_takes_default_port_and_ipv6_host() -> None:
    assert Dsn.parse("postgresql://u:p@[::1]/d") == Dsn("::1", 5432, "u", "p", "d")
    assert Dsn.parse(Dsn("::1", 5432, "u", "p", "d").sqlalchemy()).host == "::1"


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "postgresql://u:secret@h", "postgresql:///d"])
def test_parse_refuses_what_is_no_database_without_repeating_the_password(url: str) -> None:
    with pytest.raises(ValueError, match="database URL") as refused:
        Dsn.parse(url)
    assert "secret" not in str(refused.value)
