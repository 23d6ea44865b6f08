"""SSL_CERT_FILE, as docs/install.md has it: a certificate authority of one's own is trusted."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from dev.cluster.certificates import Authority
from tests.operator.loopback import serving

ASK = """
import asyncio, sys
from model_operator.clients.mlflow import MlflowClient
from model_operator.clients.prometheus import Prometheus
from model_operator.errors import MlflowError

async def ask(url):
    prometheus = Prometheus(url)
    print(await prometheus.query("up"))
    await prometheus.close()
    try:
        print(await MlflowClient(url).get("experiments/get", {}))
    except MlflowError as error:
        print(error)

asyncio.run(ask(sys.argv[1]))
"""
ANSWER = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "7"]}]},
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority")
    made.server("server", ["localhost"], ["127.0.0.1"])
    return made


@pytest.fixture
async def url(authority: Authority) -> AsyncIterator[str]:
    """Answers by a certificate that nobody else has signed."""

    async def handler(request: web.BaseRequest) -> web.Response:
        return web.json_response(ANSWER)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.directory / "server.crt", authority.directory / "server.key")
    async with serving(handler, tls) as address:
        yield address


async def told(url: str, **environment: str) -> list[str]:
    """What the operator's clients are answered in a process with these variables."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASK, url),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    return printed.decode().splitlines()


async def test_its_file_lets_the_operator_ask_its_registry_and_prometheus(
    authority: Authority, url: str
):
    prometheus, mlflow = await told(url, SSL_CERT_FILE=str(authority.certificate))
    assert "value=7.0" in prometheus
    assert mlflow == str(ANSWER)


async def test_without_it_both_are_refused_with_the_reason(url: str):
    for words in await told(url):
        assert "cannot be reached" in words
        assert "certificate verify failed" in words
