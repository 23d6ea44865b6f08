"""A real etcd and API server (and controller manager, if asked) for tests, up in seconds.

Called by the tests that need an API server but no node:

    with ControlPlane(controller_manager=True) as plane:
        subprocess.run(["kubectl", "--kubeconfig", plane.kubeconfig, ...])

Everything listens on free ports of the loopback and is kept in a temporary folder. It ends with
the block, with `stop()`, or, should the test be killed, by a watchdog that sees it die.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.cluster import components, debian, kubernetes
from dev.cluster.apiserver import ApiServer
from dev.cluster.certificates import Authority, service_account_keys, write_kubeconfig
from dev.cluster.errors import BinariesMissing, NotHealthy

PACKAGES = {"etcd-server": "etcd", "openssl": "openssl"}
READY_TIMEOUT = 60.0  # seconds; two are usual
ATTEMPTS = 3  # a free port can be taken by another program before we listen on it


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of a control plane."""

    etcd: Path
    api_server: Path
    controller_manager: Path


def prepare() -> Path:
    """Installs and builds what a control plane needs; returns the folder of what was built."""
    debian.install(PACKAGES)
    return kubernetes.build()


def find_binaries(environ: Mapping[str, str] = os.environ) -> Binaries:
    """From KUBEBUILDER_ASSETS, else from the cached build. Raises BinariesMissing."""
    assets = environ.get("KUBEBUILDER_ASSETS")
    folder = Path(assets) if assets else kubernetes.bin_dir()
    etcd = folder / "etcd" if assets else Path(shutil.which("etcd") or folder / "etcd")
    found = Binaries(etcd, folder / "kube-apiserver", folder / "kube-controller-manager")
    for program in (found.etcd, found.api_server, found.controller_manager):
        if not program.is_file():
            raise BinariesMissing(
                f"{program} is not there: run `make cluster-build`, or let KUBEBUILDER_ASSETS "
                "name a folder with etcd, kube-apiserver and kube-controller-manager."
            )
    return found


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def minor_version(program: Path) -> int:
    """20 for a program of Kubernetes 1.20. Raises NotHealthy when it does not say."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.fullmatch(r"Kubernetes v1\.(\d+)\..*", done.stdout.strip())
    if match is None:
        raise NotHealthy(f"{program} --version says {done.stdout.strip()!r}: is it Kubernetes?")
    return int(match[1])


def make_certificates(pki: Path, addresses: list[str]) -> Authority:
    """The authority, and what an API server at these addresses and an admin need."""
    authority = Authority(pki)
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    authority.server("apiserver", ("localhost", *names), (components.API_SERVICE, *addresses))
    authority.client("admin", "admin", "system:masters")
    authority.client("controller-manager", "system:kube-controller-manager")
    Authority(pki, "front-proxy-ca").client("front-proxy-client", "front-proxy-client")
    service_account_keys(pki)
    return authority


class ControlPlane:
    """etcd and kube-apiserver, started by `start()` or by entering the block.

    `kubeconfig` is an admin's; `flags` are more of the API server's, such as those of an audit log,
    and `controller_options` more of the controller manager's. `stop()` may be called more than
    once.
    """

    def __init__(
        self,
        *,
        controller_manager: bool = False,
        binaries: Binaries | None = None,
        flags: Sequence[str] = (),
        controller_options: Sequence[str] = (),
    ) -> None:
        self._binaries = binaries or find_binaries()
        self._with_controllers = controller_manager
        self._flags = flags
        self._controller_options = controller_options
        self._running: list[subprocess.Popen[bytes]] = []
        self._watchdog: subprocess.Popen[bytes] | None = None
        self.directory = Path()
        self.kubeconfig = Path()
        self.url = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts it and waits until it is ready. Raises NotHealthy with its last words."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start()
            except BaseException as problem:
                self.stop()
                if attempt == ATTEMPTS or not isinstance(problem, NotHealthy):
                    raise
            else:
                return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ends what was started, waits for it, and removes the temporary folder."""
        for process in reversed(self._running):
            process.kill()  # there is nothing that they would have to save
            process.wait()
        self._running.clear()
        if self._watchdog is not None:
            self._watchdog.kill()  # before it can see the pipe's end: the pids are no longer ours
            self._watchdog.communicate()
            self._watchdog = None
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="control-plane-"))
        ports = free_ports(4)
        at = components.ControlPlaneAddresses("127.0.0.1", "127.0.0.1", *ports[:3])
        pki = self.directory / "pki"
        make_certificates(pki, ["127.0.0.1"])
        self.url = at.url
        self.kubeconfig = self.directory / "kubeconfig"
        write_kubeconfig(self.kubeconfig, "control-plane", at.url, pki, "admin")
        programs = self._binaries
        self._run("etcd", components.etcd(programs.etcd, self.directory / "etcd", at))
        server = components.api_server(programs.api_server, pki, at)
        self._run("kube-apiserver", [*server, *self._flags])
        self._watch()
        self._wait_until_ready(ApiServer(at.url, pki))
        if self._with_controllers:
            kubeconfig = self.directory / "controller-manager.kubeconfig"
            write_kubeconfig(kubeconfig, "control-plane", at.url, pki, "controller-manager")
            command = components.controller_manager(
                programs.controller_manager, pki, kubeconfig, ports[3]
            )
            if minor_version(programs.controller_manager) < 24:
                command.append("--port=0")  # the plain port, one for the whole machine
            self._run("kube-controller-manager", [*command, *self._controller_options])
            self._watch()

    def _run(self, name: str, argv: list[str]) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C ends them by `stop`, in order
            )
        self._running.append(process)

    def _watch(self) -> None:
        """A shell that holds a pipe from us: when it ends, so did we, and it ends the rest."""
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
        script = 'read -r _; directory=$1; shift; kill -KILL "$@"; rm -rf "$directory"'
        pids = [str(process.pid) for process in self._running]
        self._watchdog = subprocess.Popen(
            ["sh", "-c", script, "watchdog", str(self.directory), *pids],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self, server: ApiServer) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not server.is_ready():
            for process in self._running:
                if process.poll() is not None:
                    raise NotHealthy(f"{process.args!r} ended early: {self._last_words()}")
            if time.monotonic() > deadline:
                raise NotHealthy(
                    f"the API server was not ready in {READY_TIMEOUT:.0f} s: {self._last_words()}"
                )
            time.sleep(0.05)

    def _last_words(self) -> str:
        tails = []
        for log in sorted(self.directory.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-3:]
            tails.append(f"{log.stem}: {' / '.join(lines)}")
        return "; ".join(tails)
