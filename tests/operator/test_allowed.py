"""What an administrator allows: by hosts that every client of ours reads alike."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest
import urllib3
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from model_operator.allowed import Allowed, host_of, host_pattern, matches, same_server
from model_operator.api import ModelSource
from tests.operator.builders import digest_of

EVERYTHING = ("models", "runs", "pvc", "https", "s3")
HOSTS = (host_pattern("good.example"), host_pattern("*.trusted.example"), host_pattern("::1"))
OPEN = Allowed(EVERYTHING, HOSTS, "http://mlflow:5000")

GOOD = [
    "https://good.example/cats.tgz",
    "https://GOOD.Example/cats.tgz",
    "https://good.example:8443/a?b=c#d",
    "https://good.example/a@bad.example/b",
    "https://a.trusted.example/x",
    "https://a.b.trusted.example/x",
    "https://[::1]/x",
    "https://[0:0:0:0:0:0:0:1]:8443/x",
    "https://[0::0001]/x",
]
BAD = [
    "https://bad.example/x",
    "https://good.example.bad.example/x",
    "https://notgood.example/x",
    "https://trusted.example/x",
    "https://evil-trusted.example/x",
    "https://xtrusted.example/x",
    "https://good.example./x",
    "https://good.example@bad.example/x",
    "https://good.example:secret@bad.example/x",
    "https://good.example%40bad.example/x",
    "https://good%2eexample/x",
    "https://good.example%2f.bad.example/x",
    "https://good.example\\@bad.example/x",
    "https://good.example\\.bad.example/x",
    "https://bad.example\\good.example/x",
    "https://bad.example#good.example/x",
    "https://bad.example?good.example/x",
    "https://bad.example;good.example/x",
    "https://good.example\t.bad.example/x",
    "https://\tgood.example/x",
    "https:// good.example/x",
    "https:///good.example/x",
    "https:/good.example/x",
    "https:good.example/x",
    "https://good.example:/x",
    "https://good.example:80a/x",
    "https://good.example:+80/x",
    "https://good\u3002example/x",
    "https://\uff47ood.example/x",
    "https://xn--good-example/x",
    "https://xn--gd-eka.example/x",
    "https://good.ex\u0430mple/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://[::1%25eth0]/x",
    "https://[::1]bad.example/x",
    "https://[::1].good.example/x",
    "https://[good.example]/x",
    "https://::1/x",
    "https://1/x",
    "https://0x7f.1/x",
    "https://2130706433/x",
    "https://.trusted.example/x",
    "https://a..trusted.example/x",
    "https://-a.trusted.example/x",
    "HTTPS://good.example/x",
]


def source(address: str) -> ModelSource:
    return ModelSource(uri=address, sha256=digest_of(1))


@pytest.mark.parametrize("address", GOOD)
def test_an_address_at_an_allowed_host_is_allowed_however_it_is_written(address: str):
    assert OPEN.refusal(source(address)) is None


@pytest.mark.parametrize("address", BAD)
def test_no_way_of_writing_an_address_gets_past_the_allowed_hosts(address: str):
    sentence = OPEN.refusal(source(address))
    assert sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("address", [bad for bad in BAD if bad.startswith("https")])
def test_a_registry_is_held_to_the_same_hosts(address: str):
    registry = f"http{address.removeprefix('https')}"
    named = ModelSource(uri="models:/cats-dogs/1", registry=registry)
    assert OPEN.refusal(named)


PIECES = st.sampled_from(
    [
        *(
            "good.example",
            "bad.example",
            "trusted.example",
            "a",
            "GOOD",
            "xn--gd-eka",
            "1",
            "127.1",
        ),
        *(".", "..", "@", ":", "%40", "%2e", "\\", "/", "//", "?", "#", "[", "]", "[::1]", "::1"),
        *(
            " ",
            "\t",
            "\n",
            "\r",
            "\x00",
            ";",
            ",",
            "-",
            "_",
            "80",
            "0x7f",
            "\u3002",
            "\uff47",
            "*",
            "user",
            "127.1",
        ),
    ]
)
AUTHORITIES = st.lists(PIECES, min_size=1, max_size=6).map("".join)


def the_same(host: str, other: str | None) -> bool:
    """By what they stand for: an IPv6 address can be written in many ways."""
    if other is None:
        return False
    bare = other.strip("[]").lower()
    try:
        return ipaddress.ip_address(bare) == ipaddress.ip_address(host)
    except ValueError:
        return bare == host


@given(AUTHORITIES, st.sampled_from(["", "/x", "/x@bad.example", "//bad.example/x"]))
@example("good.example:8443", "/x")
@example("[0::1]", "/x")
def test_every_client_of_ours_reads_the_host_that_was_compared(authority: str, path: str):
    """aiohttp asks registries by yarl; requests, and by it the pods, by urllib3."""
    address = f"https://{authority}{path}"
    host = host_of(address)
    if host is None:
        return
    assert the_same(host, urlsplit(address).hostname)
    assert the_same(host, urllib3.util.parse_url(address).host)
    assert the_same(host, URL(address).raw_host)


NAMES = st.from_regex(
    r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){0,3}", fullmatch=True
)


@given(NAMES, st.text("ABCabc.x-", max_size=6))
def test_a_suffix_stands_for_names_below_it_and_for_nothing_else(name: str, prefix: str):
    pattern = host_pattern(f"*.{name}")
    assert not matches(name, [pattern])
    found = host_of(f"https://{prefix}{name}/")
    if found is not None:
        assert matches(found, [pattern]) == (prefix.endswith(".") and len(prefix) > 1)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "*",
            "*.",
            "**.a",
            "a.*",
            "a*.b",
            "https://a",
            "a/b",
            "a:80",
            "a b",
            "a.",
            ".a",
            "a..b",
        ),
        *(
            "1",
            "127.1",
            "0x7f000001",
            "a.1",
            "*.1",
            "*.127.0.0.1",
            "*.::1",
            "[a]",
            "ü.example",
            "a@b",
        ),
    ],
)
def test_what_is_not_a_host_is_no_pattern(text: str):
    with pytest.raises(ValueError, match="is not a host"):
        host_pattern(text)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Good.Example", "good.example"),
        ("*.Example.COM", "*.example.com"),
        ("mlflow", "mlflow"),
        ("my_mlflow", "my_mlflow"),
        ("10.0.0.7", "10.0.0.7"),
        ("::0001", "::1"),
        ("[::1]", "::1"),
        ("xn--gd-eka.example", "xn--gd-eka.example"),
    ],
)
def test_a_pattern_is_kept_in_the_form_that_hosts_are_compared_in(text: str, pattern: str):
    assert host_pattern(text) == pattern


def test_a_kind_of_source_that_is_not_allowed_is_refused_and_the_sentence_says_who_can_change_it():
    usual = Allowed(own_registry="http://mlflow:5000")
    for uri in ("models:/a/1", "models:/a@b", "runs:/0a/model", "pvc://claim/x"):
        assert usual.refusal(source(uri)) is None
    for uri in ("https://good.example/x", "s3://bucket/x/"):
        sentence = usual.refusal(source(uri)) or ""
        assert "CV_FACTORY_ALLOWED_SCHEMES" in sentence
        assert "administrator" in sentence
    assert Allowed(("s3",)).refusal(source("models:/a/1"))


@pytest.mark.parametrize(
    "address",
    ["http://mlflow:5000", "http://mlflow:5000/", "http://MLFLOW:5000//"],
)
def test_the_operators_own_registry_needs_no_leave(address: str):
    own = Allowed(own_registry="http://mlflow:5000")
    assert own.refusal(ModelSource(uri="models:/a/1", registry=address)) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a", "http://a:80/", True),
        ("https://a/x/", "https://A:443/x", True),
        ("http://a", "https://a", False),
        ("http://a/x", "http://a/X", False),
        ("http://a:81", "http://a", False),
        ("http://a", None, False),
        ("http://a@b", "http://b", False),
        ("http://[::1]", "http://[0::1]:80", True),
    ],
)
def test_one_server_is_the_same_scheme_host_port_and_path(one: str, other: str | None, same: bool):
    assert same_server(one, other) is same
