"""Asks an API server a few plain questions with the standard library alone.

Called to see whether a control plane or a cluster is healthy, before any client is installed.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.parse
from pathlib import Path
from typing import Any

TIMEOUT = 5.0  # seconds


class _Connection(http.client.HTTPSConnection):
    """One that is closed whatever happens. Of a socket that is connected before it speaks TLS,
    `ssl` would leave one open where the peer goes away in between.
    """

    def __init__(self, address: str, tls: ssl.SSLContext) -> None:
        super().__init__(address, timeout=TIMEOUT)
        self._tls = tls

    def connect(self) -> None:
        """Connect, which begins TLS."""
        self.sock = self._tls.wrap_socket(socket.socket(), server_hostname=self.host)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect((self.host, self.port))


class ApiServer:
    """An API server at `url`, asked with the admin certificate in `pki`."""

    def __init__(self, url: str, pki: Path) -> None:
        self.address = urllib.parse.urlsplit(url).netloc
        self.context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))

    def get(self, path: str) -> bytes | None:
        """The body of a 200 answer; None for any other answer, and for none at all."""
        connection = _Connection(self.address, self.context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == 200 else None

    def get_object(self, path: str) -> dict[str, Any] | None:
        """The same for a JSON object."""
        body = self.get(path)
        if body is None:
            return None
        found: dict[str, Any] = json.loads(body)
        return found

    def is_ready(self) -> bool:
        """Whether /readyz says ok."""
        return self.get("/readyz") == b"ok"

    def version(self) -> str:
        """Like v1.20.2; empty when it does not answer."""
        return str((self.get_object("/version") or {}).get("gitVersion", ""))
