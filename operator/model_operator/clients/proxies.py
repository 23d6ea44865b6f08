"""The proxy on the way to a server, as the environment names it: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.

aiohttp can look for one by itself (`trust_env`), but does so before every request, in a thread.
"""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit


def proxy_of(url: str) -> str | None:
    """The proxy of this server's requests; None where there is none, or NO_PROXY excepts it."""
    server = urlsplit(url)
    if not server.hostname or urllib.request.proxy_bypass(server.netloc):
        return None
    named = urllib.request.getproxies().get(server.scheme)
    return f"http://{named}" if named and "://" not in named else named
