"""URIs as people may read them. Every sentence and log line about a source uses this."""

from __future__ import annotations

import re

_USER = re.compile(r"//[^/?#]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def shown(uri: str) -> str:
    """Return `uri` without what may be secret (user, password, query), and on one line."""
    safe = _QUERY.sub("?...", _USER.sub("//", uri))
    return safe.encode("unicode_escape").decode() if not safe.isprintable() else safe
