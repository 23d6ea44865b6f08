"""The agent's own port: GET /ready, /health, /route and /metrics. Nothing can be changed here."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from model_router import metrics
from model_router.agent import Agent
from model_router.errors import ProxyError
from model_router.runtime_api import RuntimeApi

JSON = "application/json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class AgentServer(ThreadingHTTPServer):
    """Answers in threads, so that a slow reader keeps no probe waiting."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], agent: Agent, api: RuntimeApi) -> None:
        super().__init__(address, _Handler)
        self.agent = agent
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone, as a kubelet goes when a probe is late, is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: AgentServer

    def do_GET(self) -> None:
        status, kind, body = self._answer()
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self) -> tuple[int, str, str]:
        agent, api = self.server.agent, self.server.api
        path = self.path.partition("?")[0]
        try:
            if path == "/health":
                api.command("show version")
                return 200, JSON, '{"status": "ok"}\n'
            if path == "/metrics":
                text = metrics.exposition(agent.answer(), agent.slots, api.counters(), agent.bases)
                return 200, TEXT, text
        except ProxyError as error:
            return 503, JSON, f"{json.dumps({'error': str(error)})}\n"
        if path not in ("/ready", "/route"):
            return 404, JSON, '{"error": "there are /ready, /health, /route and /metrics"}\n'
        answer = agent.answer()
        status = 200 if path == "/route" or answer.ready else 503
        return status, JSON, f"{json.dumps(answer.as_json())}\n"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Probes are not logged."""
