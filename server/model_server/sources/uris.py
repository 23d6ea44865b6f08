"""URIs as people may read them. Every sentence and log line about a source uses this."""

from __future__ import annotations

import re

# What has no place for a password, so that an @ is a part of a name.
_WITHOUT_USER = re.compile(
    r"\.{0,2}/(?!/)|(?:models|runs):/(?!/)|(?:s3|pvc)://[^/:@?#]*/|file:(?://)?/(?!/)"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+")
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def shown(uri: str) -> str:
    """Return `uri` without what may be secret (user, password, query), and on one line.

    A password may hold a slash or a question mark that nobody has escaped, so all up to the last @
    goes. Where that could as well stand in a query, nothing but the scheme is left.
    """
    safe = uri if _WITHOUT_USER.match(uri) else _without_user(uri)
    safe = _QUERY.sub("?...", safe)
    return safe.encode("unicode_escape").decode() if not safe.isprintable() else safe


def _without_user(uri: str) -> str:
    before, found, rest = uri.rpartition("@")
    if not found:
        return uri
    scheme = _SCHEME.match(uri)
    prefix = scheme[0] if scheme else ""
    return prefix + ("..." if _QUERY.search(before) else rest)
