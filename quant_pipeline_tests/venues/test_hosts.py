"""Addresses and keys that a client may be built with."""

from __future__ import annotations

import pytest

from quant_pipeline.venues.hosts import checked_key, checked_url, is_loopback, refuse_live_without_account


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8100", "http://localhost:8100", "http://[::1]:8100", "https://x.org"]
)
def test_plain_addresses_are_taken_as_they_are(url: str) -> None:
    assert checked_url("u", url) == url


def test_a_trailing_slash_and_white_space_are_dropped() -> None:
    assert checked_url("u", " https://x.org/ ") == "https://x.org"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "/",
        "x.org",
        "ftp://x.org",
        "https://",
        "https://x.org/v2",
        "https://x.org?a=1",
        "https://user:secret@x.org",
        "http://x.org",
        "http://10.0.0.1:8100",
        "http://127.0.0.1.x.org",
    ],
)
def test_empty_odd_and_unencrypted_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the address of it"):
        checked_url("the address of it", url)


def test_the_refusal_does_not_repeat_credentials() -> None:
    with pytest.raises(ValueError, match="keys are given separately") as caught:
        checked_url("u", "https://user:hunter2@x.org")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:1", True),
        ("http://LOCALHOST", True),
        ("https://api.upbit.com", False),
        ("https://localhost.evil.org", False),
        ("https://0.0.0.0", False),
    ],
)
def test_loopback_is_this_machine_only(url: str, *, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize("host", ["api.alpaca.markets", "API.ALPACA.MARKETS", "api.upbit.com", "sg-api.upbit.com"])
@pytest.mark.parametrize("account", [None, "", "  "])
def test_live_hosts_need_an_account(host: str, account: str | None) -> None:
    with pytest.raises(ValueError, match="live_account"):
        refuse_live_without_account(f"https://{host}", account)
    refuse_live_without_account(f"https://{host}", "010203ABCD")


@pytest.mark.parametrize("key", ["", " ", " abc", "abc\n"])
def test_blank_keys_are_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the key is empty or has white space") as caught:
        checked_key("the key", key)
    assert "abc" not in str(caught.value)
