"""The agent's settings, from the environment; read once by `main`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_router.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """Each field is an environment variable: `ROUTER_` and the field's name in capitals."""

    route_file: Path = Path("/etc/model-router/route.json")
    """The route document, as the ConfigMap's volume shows it."""
    run_dir: Path = Path("/run/model-router")
    """Where HAProxy's socket and map are: the one folder that is written to."""
    address: str = "*"
    """Where both ports listen; * is every IPv4 address."""
    port: int = 8000
    """HAProxy's, for clients."""
    agent_port: int = 8001
    """The agent's, for probes, the operator and Prometheus."""
    drain_seconds: int = 15
    """How long clients are still answered after SIGTERM."""
    threads: int = 2
    """HAProxy's. It would take one for every core of the node."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SettingsError, which names the variable."""
        defaults = cls()

        def number(name: str, default: int, least: int, most: int) -> int:
            text = environment.get(f"ROUTER_{name}", str(default))
            if not (text.isdecimal() and least <= int(text) <= most):
                raise SettingsError(
                    f"ROUTER_{name} must be a whole number from {least} to {most}, not {text!r}"
                )
            return int(text)

        return cls(
            route_file=Path(environment.get("ROUTER_ROUTE_FILE", defaults.route_file)),
            run_dir=Path(environment.get("ROUTER_RUN_DIR", defaults.run_dir)),
            address=environment.get("ROUTER_ADDRESS", defaults.address),
            port=number("PORT", defaults.port, 1, 65_535),
            agent_port=number("AGENT_PORT", defaults.agent_port, 1, 65_535),
            drain_seconds=number("DRAIN_SECONDS", defaults.drain_seconds, 0, 3600),
            threads=number("THREADS", defaults.threads, 1, 64),
        )
