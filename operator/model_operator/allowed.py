"""Which sources may be fetched from: an administrator's setting, so that nobody who may write a
ModelDeployment makes the operator ask what they please. Pure; `clients.registry` asks here before
it asks anybody, and `settings` checks what the administrator wrote.

Hosts are read by one strict expression and not by a URL parser: parsers differ about users, back
slashes, white space and numbers, and what only one of them takes for a host would slip through.
What the expression does not match has no host, and is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from model_operator.api import ModelSource

SCHEMES = ("models", "runs", "pvc", "https", "s3")
"""Every kind of source, by what its URI begins with."""
USUAL_SCHEMES = ("models", "runs", "pvc")
"""What is allowed where nothing is set: the operator's own registry, and the namespace's claims."""

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:[.]{_LABEL})*")
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_NAME.pattern}|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/.*)?)",
    re.DOTALL,
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PORTS = {"http": 80, "https": 443}


def host_of(address: str) -> str | None:
    """The host of an http or https address in the form that hosts are compared in; None when it
    has none that every client would read alike.

    >>> host_of("https://Models.Example.com:8443/cats.tgz"), host_of("http://[::0001]/")
    ('models.example.com', '::1')
    >>> host_of("https://good.example@bad.example/"), host_of("https://good.example./")
    (None, None)
    """
    found = _URL.fullmatch(address)
    return _canonical(found["host"]) if found else None


def host_pattern(text: str) -> str:
    """An administrator's word for a host, in the form that hosts are compared in: an exact name or
    address, or *.SUFFIX for every name below one.

    Raises:
        ValueError: it is neither.
    """
    name = text.removeprefix("*.")
    exact = name if name.startswith("[") or ":" not in name else f"[{name}]"
    canonical = _canonical(exact) if _NAME.fullmatch(name) or exact.startswith("[") else None
    below = text.startswith("*.")
    if canonical is None or not _resolves_as_it_reads(canonical) or (below and _is_ip(canonical)):
        raise ValueError(
            f"{text!r} is not a host: write a name, *.SUFFIX or an IP address, without scheme, "
            "port and path"
        )
    return f"*.{canonical}" if below else canonical


def matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host of `host_of` is one of those that the patterns name.

    >>> matches("a.b.example.com", ["*.example.com"]), matches("example.com", ["*.example.com"])
    (True, False)
    """
    return any(
        host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))
        for pattern in patterns
    )


def same_server(one: str, other: str | None) -> bool:
    """Whether two addresses are those of one server: scheme, host, port and path are the same."""
    return other is not None and (one == other or _server(one) == _server(other) is not None)


@dataclass(frozen=True)
class Allowed:
    """What an administrator allows."""

    schemes: tuple[str, ...] = USUAL_SCHEMES
    hosts: tuple[str, ...] = ()
    """As `host_pattern` gives them: of https:// and of other registries than the operator's own."""
    own_registry: str | None = None

    def refusal(self, source: ModelSource) -> str | None:
        """Why a source may not be fetched from, and who can change that; None when it may."""
        scheme = source.uri.partition(":")[0]
        if scheme not in self.schemes:
            return (
                f"{scheme}: is not among the kinds of sources that are allowed here "
                f"({', '.join(self.schemes)}): an administrator adds it to the operator's setting "
                "CV_FACTORY_ALLOWED_SCHEMES (the chart's value sources.allowedSchemes)"
            )
        if scheme == "https":
            return self._refused_host("spec.model.uri", source.uri)
        if source.registry and not same_server(source.registry, self.own_registry):
            return self._refused_host("spec.model.registry", source.registry)
        return None

    def _refused_host(self, field: str, address: str) -> str | None:
        host = host_of(address)
        if host is None:
            return (
                f"the host of {field} cannot be read: write a plain lowercase name or an IP "
                "address, without a user, a dot at its end or escapes"
            )
        if matches(host, self.hosts):
            return None
        return (
            f"the host {host} of {field} is not allowed here: an administrator adds it to the "
            "operator's setting CV_FACTORY_ALLOWED_HOSTS (the chart's value sources.allowedHosts)"
        )


def _canonical(host: str) -> str | None:
    if not host.startswith("["):
        return host.lower()
    try:
        return str(ipaddress.IPv6Address(host[1:-1]))
    except ValueError:
        return None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolves_as_it_reads(host: str) -> bool:
    """Not a number, such as 2130706433 or 127.1, that some clients take for an address."""
    return _is_ip(host) or _NUMBER.fullmatch(host.rpartition(".")[2]) is None


def _server(address: str) -> tuple[str, str, int, str] | None:
    found = _URL.fullmatch(address)
    host = _canonical(found["host"]) if found else None
    if found is None or host is None:
        return None
    port = int(found["port"] or _PORTS[found["scheme"]])
    return found["scheme"], host, port, found["path"].rstrip("/")
