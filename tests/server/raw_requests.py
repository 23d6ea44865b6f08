"""Requests as bytes, apps to ask with them, and sockets to send them on: what raw clients share."""

from __future__ import annotations

import socket

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

HOST = b"Host: server\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSING = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


def post(body: bytes, headers: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST / HTTP/1.1\r\n" + HOST + headers + length + b"\r\n" + body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(b"<" + body + b">")(scope, receive, send)


async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("<not read>")(scope, receive, send)


def send_on(client: socket.socket, data: bytes) -> None:
    try:
        while True:
            client.sendall(data)
    except OSError:
        return


def read_on(client: socket.socket) -> bytes:
    said = b""
    while piece := client.recv(100_000):
        said = said[-1000:] + piece
    client.close()
    return said
