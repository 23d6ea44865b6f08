"""The cluster without Docker: a real single-node Kubernetes in namespaces of this machine.

Called by `python3 -m dev.cluster` on Debian, as root. `up` takes what is there for what it is:
a healthy cluster is kept, a program that died is started again, and the remains of a killed run
or of another boot are cleared away and made anew.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dev.cluster import cgroups, controlplane, debian, kubernetes, network, node, pause
from dev.cluster.apiserver import ApiServer
from dev.cluster.components import API_SERVICE, PAUSE_IMAGE
from dev.cluster.containerd import Containerd
from dev.cluster.errors import ClusterError, NoClusterPossible, NotHealthy
from dev.cluster.forwarder import BACKLOG, NoTarget, parse_target
from dev.cluster.node import Facts, Layout
from dev.cluster.plan import Action, Plan, decide
from dev.cluster.processes import Records, boot_id, end, record_of, start
from dev.progress import say, step

PACKAGES = {
    **controlplane.PACKAGES,
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "busybox-static": "/bin/busybox",
    "kmod": "modprobe",
}
DEMO_PORT = 8080
READY_TIMEOUT = 90.0  # seconds


class LocalCluster:
    """A cluster by the name and in the folder of `layout`."""

    kind = "local"

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.records = Records(layout.state / "processes")
        self._containerd = Containerd(layout.state / "images.json", self.records)

    @property
    def kubeconfig(self) -> Path:
        """An admin's kubeconfig, for the machine's own shell."""
        return self.layout.kubeconfig

    def up(self) -> None:
        """Makes a healthy cluster of whatever is there. Raises a ClusterError that says why not."""
        debian.install(PACKAGES)
        programs = kubernetes.build()
        with self._locked():
            plan = self._plan()
            try:
                self._carry_out(plan, programs)
            except NotHealthy as problem:
                if plan.action in (Action.CREATE, Action.REBUILD):
                    raise
                self._carry_out(Plan(Action.REBUILD, str(problem)), programs)

    def down(self) -> None:
        """Ends and removes all of it, as far as it is there."""
        with self._locked():
            self._clear_away()

    def problems(self) -> list[str]:
        """What is wrong with it, a sentence each; empty when it is healthy."""
        facts = Facts.read(self.layout)
        if facts is None:
            return [f"there is no local cluster {self.layout.name}"]
        alive = self._alive()
        found = [f"{name} is dead" for name in node.PROGRAMS if not alive.get(name, False)]
        api = self._api(facts)
        if not api.is_ready():
            return [*found, "the API server is not ready"]
        if not self._node_is_ready(api):
            found.append("the node is not Ready")
        return found

    def describe(self) -> list[str]:
        """Lines for the user: where it is and how to reach it."""
        facts = Facts.read(self.layout)
        if facts is None:
            return []
        return [
            f"API server  https://127.0.0.1:{facts.api_port} ({self._api(facts).version()})",
            f"kubeconfig  export KUBECONFIG={self.kubeconfig}",
            f"demo port   {self._demo_url(facts)} -> {self._demo_target()}",
            f"logs        {self.layout.state / 'log'}",
        ]

    def forward(self, target: str) -> str:
        """Points the demo port at HOST:PORT inside the cluster; returns the port's URL."""
        facts = Facts.read(self.layout)
        if facts is None:
            raise NotHealthy("there is no local cluster: run `make cluster-up` first.")
        try:
            parse_target(target)
        except NoTarget as problem:
            raise ClusterError(f"{problem}: give an address like 10.96.3.4:80.") from None
        draft = self.layout.state / "demo-target.new"
        draft.write_text(target + "\n")
        draft.rename(self.layout.demo_target)
        return self._demo_url(facts)

    def has_image(self, reference: str, image_id: str) -> bool:
        """Whether `load_image` brought this very image in, and it is still there."""
        return self._containerd.has_image(reference, image_id)

    def load_image(self, reference: str, image_id: str, archive: bytes | Path) -> None:
        """Imports an image archive (docker's or OCI's) that holds `reference`."""
        self._containerd.load_image(reference, image_id, archive)

    # --- how `up` and `down` do it -----------------------------------------------------------

    def _plan(self) -> Plan:
        wanted = Facts(kubernetes.RECIPE.name, boot_id(), 0, 0)
        namespace = network.path(self.layout.namespace)
        return decide(
            exists=self.layout.state.exists() or namespace.exists(),  # the folder may be deleted
            facts=Facts.read(self.layout),
            alive=self._alive(),
            wanted=wanted,
        )

    def _carry_out(self, plan: Plan, programs: Path) -> None:
        if plan.action is Action.REBUILD:
            with step(f"clearing the cluster away: {plan.why}", 3):
                self._clear_away()
        if plan.action in (Action.CREATE, Action.REBUILD):
            self._create(programs)
        elif plan.action is Action.RESTART:
            with step(f"starting again what died: {', '.join(plan.dead)}", 5):
                since = time.time()
                for name in plan.dead:
                    self._start(name, programs)
                self._wait_for(self._control_plane_problems)
                self._wait_for(self._kubelet_problems(since))
                self._wait_for(self._node_problems)
        else:
            self._wait_for(self.problems)

    def _create(self, programs: Path) -> None:
        self.layout.state.mkdir(parents=True)
        with step("starting the control plane", 6):
            node.write_settings(self.layout)
            network.create(self.layout.namespace)
            cgroups.create(self.layout.namespace)
            for name in node.PROGRAMS[: node.PROGRAMS.index("containerd")]:
                self._start(name, programs)
            self._wait_for(self._control_plane_problems)
        with step("starting the node", 8):
            self._start("containerd", programs)
            self._wait_for(self._containerd_problems)
            self.load_image(PAUSE_IMAGE, "made here", pause.archive(PAUSE_IMAGE))
            self._start("kubelet", programs)
            self._wait_for(self._node_is_absent)  # kube-proxy asks for it only ever more seldom
            self._start("kube-proxy", programs)
            self._wait_for(self._node_problems)
        facts = self._ports()
        replace(facts, boot=boot_id(), build=kubernetes.RECIPE.name).write(self.layout)

    def _clear_away(self) -> None:
        """Nothing in it has anything to save, so everything is killed at once."""
        end(self.records.all().values(), grace=0)
        cgroups.end_members(self.layout.namespace)
        cgroups.remove(self.layout.namespace)
        network.remove(self.layout.namespace)
        shutil.rmtree(self.layout.state, ignore_errors=True)

    def _start(self, name: str, programs: Path) -> None:
        if name == "forwarder":
            self._start_forwarder()
            return
        containerd = self.records.all().get("containerd")
        command = node.commands(self.layout, programs)[name]
        argv = command(containerd.pid if containerd else 0)
        self._keep(name, start(argv, self.layout.log(name), node.ENVIRONMENT))

    def _start_forwarder(self) -> None:
        """The same ports as before where they are free, so that an open shell goes on."""
        before = self._ports()
        listeners = [listen(before.api_port, 1), listen(before.demo_port or DEMO_PORT, 100)]
        api, demo = (listener.fileno() for listener in listeners)
        command = node.forwarder_command(self.layout, api, demo)
        log = self.layout.log("forwarder")
        self._keep("forwarder", start(command, log, node.ENVIRONMENT, pass_fds=(api, demo)))
        ports = [listener.getsockname()[1] for listener in listeners]
        (self.layout.state / "ports.json").write_text(json.dumps(ports))
        for listener in listeners:
            listener.close()
        if before.build:  # it was complete: what is known of it changes with the ports
            replace(before, api_port=ports[0], demo_port=ports[1]).write(self.layout)

    def _keep(self, name: str, pid: int) -> None:
        try:
            cgroups.enter(self.layout.namespace, pid)
            record = record_of(name, pid)
        except ProcessLookupError:
            record = None
        if record is None:
            raise NotHealthy(f"{name} ended at once: {self._last_words(name)}")
        self.records.add(record)

    def _alive(self) -> dict[str, bool]:
        return {name: record.is_alive() for name, record in self.records.all().items()}

    def _ports(self) -> Facts:
        facts = Facts.read(self.layout)
        if facts is not None:
            return facts
        path = self.layout.state / "ports.json"
        api, demo = json.loads(path.read_text()) if path.is_file() else (0, 0)
        return Facts("", "", api, demo)

    # --- how it sees what it waits for -------------------------------------------------------

    def _control_plane_problems(self) -> list[str]:
        return [] if self._api(self._ports()).is_ready() else ["the API server is not ready"]

    def _containerd_problems(self) -> list[str]:
        return [] if self._containerd.answers() else ["containerd does not answer"]

    def _node_is_absent(self) -> list[str]:
        found = self._api(self._ports()).get_object(f"/api/v1/nodes/{self.layout.name}")
        return [] if found else ["the kubelet has not registered the node"]

    def _node_problems(self) -> list[str]:
        """The node's: Ready, and Services and service accounts working."""
        api = self._api(self._ports())
        if not self._node_is_ready(api):
            return ["the node is not Ready"]
        account = api.get_object("/api/v1/namespaces/default/serviceaccounts/default")
        if not (account or {}).get("secrets"):
            return ["the controllers have made no service account yet"]
        return [] if self._service_answers() else ["Services do not answer yet"]

    def _kubelet_problems(self, since: float) -> Callable[[], list[str]]:
        """A Ready that the former kubelet has left behind says nothing: this one must report."""
        begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))

        def problems() -> list[str]:
            ready = self._node_is_ready(self._api(self._ports()), reported_after=begun)
            return [] if ready else ["the kubelet has not reported Ready yet"]

        return problems

    def _node_is_ready(self, api: ApiServer, reported_after: str = "") -> bool:
        described = api.get_object(f"/api/v1/nodes/{self.layout.name}") or {}
        return any(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and condition["lastHeartbeatTime"] > reported_after
            for condition in described.get("status", {}).get("conditions", [])
        )

    def _service_answers(self) -> bool:
        """Whether kube-proxy has made the API server's Service reachable."""
        script = f"exec 3<>/dev/tcp/{API_SERVICE}/443"
        tried = subprocess.run(
            [*network.enter(self.layout.namespace), "timeout", "2", "bash", "-c", script],
            capture_output=True,
            check=False,
        )
        return tried.returncode == 0

    def _wait_for(self, problems: Callable[[], list[str]]) -> None:
        """Until there are none. Raises NotHealthy when a program dies or the time is over."""
        deadline = time.monotonic() + READY_TIMEOUT
        while found := problems():
            for name, alive in self._alive().items():
                if not alive:
                    raise NotHealthy(f"{name} died: {self._last_words(name)}")
            if time.monotonic() > deadline:
                raise NotHealthy(
                    f"after {READY_TIMEOUT:.0f} s {'; '.join(found)}: see {self.layout.state}/log"
                )
            time.sleep(0.1)

    def _last_words(self, name: str) -> str:
        lines = self.layout.log(name).read_text(errors="replace").splitlines()[-3:]
        return f"{' / '.join(lines)} ({self.layout.log(name)})"

    # --- small things ------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.layout.state.parent / f"{self.layout.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("- another run is at work on this cluster: waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _api(self, facts: Facts) -> ApiServer:
        return ApiServer(f"https://127.0.0.1:{facts.api_port}", self.layout.pki)

    def _demo_url(self, facts: Facts) -> str:
        return f"http://127.0.0.1:{facts.demo_port}"

    def _demo_target(self) -> str:
        path = self.layout.demo_target
        return path.read_text().strip() if path.is_file() else "nothing yet"


def listen(first: int, tries: int) -> socket.socket:
    """A listening socket on the loopback: at `first` or one of the ports after it, else anywhere.

    For `first` 0 the kernel chooses.
    """
    for port in [*range(first, first + tries), 0]:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        except OSError:
            continue
    raise ClusterError("no port of the loopback is free.")


def why_not() -> str:
    """Why this machine can run no local cluster; empty when it can."""
    if debian.codename() != kubernetes.RECIPE.release:
        return "this is not Debian 12"
    if not network.can_make_namespaces():
        return "it needs root, with the right to make network namespaces"
    return ""


def require() -> None:
    """Raises NoClusterPossible when this machine can run no local cluster."""
    if reason := why_not():
        raise NoClusterPossible(
            f"The local cluster cannot run here: {reason}. Install Docker and kind, or run it as "
            "root on a Debian 12 machine."
        )
