"""HAProxy as the agent's child process, in one process without a master."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from model_router.errors import ProxyEnded, ProxyError, SettingsError
from model_router.runtime_api import RuntimeApi
from model_router.settings import Settings

START_SECONDS = 10.0
_PACKAGE = Path(__file__).parent


class Proxy:
    """One HAProxy; `api` sets and reads what changes while it runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._map = settings.run_dir / "route.map"
        self._process: subprocess.Popen[bytes] | None = None
        self.api = RuntimeApi(settings.run_dir / "admin.sock", self._map)

    def start(self) -> None:
        """Starts it with an empty route, and waits for its socket.

        Raises:
            SettingsError: it is not installed.
            ProxyEnded: it ended at once; it has said why on stderr.

        """
        program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise SettingsError("haproxy is not installed (Debian: apt-get install haproxy)")
        self._settings.run_dir.mkdir(parents=True, exist_ok=True)
        self._map.write_text("")
        environment = {
            **os.environ,
            "ROUTER_PACKAGE": str(_PACKAGE),
            "ROUTER_RUN_DIR": str(self._settings.run_dir),
            "ROUTER_ADDRESS": self._settings.address,
            "ROUTER_PORT": str(self._settings.port),
            "ROUTER_THREADS": str(self._settings.threads),
        }
        self._process = subprocess.Popen(
            [program, "-db", "-q", "-f", str(_PACKAGE / "haproxy.cfg")], env=environment
        )
        self._wait_for_socket()

    def _wait_for_socket(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.check()
            try:
                self.api.command("show version")
            except ProxyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def check(self) -> None:
        """Raises ProxyEnded when it does not run any more."""
        if self._process is None or self._process.poll() is not None:
            status = None if self._process is None else self._process.returncode
            raise ProxyEnded(f"HAProxy has ended with status {status}")

    def stop(self) -> int:
        """Lets it finish what is in flight, however long that takes it; its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGUSR1)
        return self._process.wait()

    def kill(self) -> None:
        """Ends it at once; for an agent that cannot go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
