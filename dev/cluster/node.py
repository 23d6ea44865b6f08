"""Where one local cluster keeps its things, and how each of its programs is started.

Called by the local cluster. Everything but the forwarder's listening sockets is inside a network
namespace; containerd, its shims and the kubelet share a mount namespace too, in which the folders
that these programs insist on are the cluster's own. So several clusters can live on one machine,
and whatever is mounted for pods is gone with the last process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.cluster import components, forwarder, network
from dev.cluster.certificates import write_kubeconfig
from dev.cluster.controlplane import make_certificates

ADDRESSES = components.ControlPlaneAddresses(
    bind="0.0.0.0",
    advertised=network.NODE_ADDRESS,
    api_port=6443,
    etcd_port=2379,
    etcd_peer_port=2380,
)
CONTROLLER_MANAGER_PORT = 10257
ENVIRONMENT = {  # of all programs; nothing of the user's own
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}
# In the order in which they are started.
PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "forwarder",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
)
PRIVATE = {  # below <state>/node -> where the programs look for it
    "run": "/run/containerd",
    "containerd": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "cni": "/var/lib/cni",
    "pod-logs": "/var/log/pods",
    "container-logs": "/var/log/containers",
}
# The machine's resolvers cannot be reached: without them a name fails at once, not after seconds.
_CONTAINERD_SCRIPT = """
set -e
state=$1; shift
while [ $# -gt 0 ]; do
  mkdir -p "$state/node/$1" "$2"
  mount --bind "$state/node/$1" "$2"
  shift 2
done
: > "$state/node/resolv.conf"
[ ! -e /etc/resolv.conf ] || mount --bind "$state/node/resolv.conf" /etc/resolv.conf
exec containerd --config "$state/etc/containerd.toml"
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """One local cluster's name and folder, and the names that follow from them."""

    name: str
    state: Path

    @property
    def namespace(self) -> str:
        """The network namespace, and the control group."""
        return f"cvf-{self.name}"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For the machine's own shell, as an admin."""
        return self.state / "kubeconfig"

    @property
    def demo_target(self) -> Path:
        """The file that holds the address behind the demo port."""
        return self.state / "demo-target"

    def log(self, program: str) -> Path:
        """Where a program's output goes."""
        return self.state / "log" / f"{program}.log"


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known about a running cluster to use it or to go on with it."""

    build: str  # the Kubernetes build that it runs
    boot: str  # the boot that it was started in
    api_port: int
    demo_port: int

    @staticmethod
    def read(layout: Layout) -> Facts | None:
        """The facts of a cluster whose start was completed; None where there is none."""
        path = layout.state / "cluster.json"
        return Facts(**json.loads(path.read_text())) if path.is_file() else None

    def write(self, layout: Layout) -> None:
        """Keeps them, and the kubeconfig that goes with them."""
        url = f"https://127.0.0.1:{self.api_port}"
        write_kubeconfig(layout.kubeconfig, layout.name, url, layout.pki, "admin")
        draft = layout.state / "cluster.json.new"
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.rename(layout.state / "cluster.json")


def write_settings(layout: Layout) -> None:
    """Writes certificates, kubeconfigs and settings files: all that is fixed before the start."""
    authority = make_certificates(layout.pki, ["127.0.0.1", network.NODE_ADDRESS])
    authority.client("scheduler", "system:kube-scheduler")
    authority.client("kube-proxy", "system:kube-proxy")
    authority.client("kubelet", f"system:node:{layout.name}", "system:nodes")
    settings = layout.state / "etc"
    (settings / "cni").mkdir(parents=True)
    for user in ("controller-manager", "scheduler", "kube-proxy", "kubelet"):
        write_kubeconfig(
            settings / f"{user}.kubeconfig", layout.name, ADDRESSES.url, layout.pki, user
        )
    (settings / "cni" / "pods.conflist").write_text(components.pod_network())
    (settings / "containerd.toml").write_text(components.containerd_configuration(settings / "cni"))
    (settings / "kubelet.json").write_text(
        components.kubelet_configuration(layout.pki, layout.namespace)
    )


def commands(layout: Layout, programs: Path) -> dict[str, Callable[[int], list[str]]]:
    """Program -> its command line. The argument is containerd's pid, for what shares its mounts;
    the forwarder, which gets sockets as well, has a function of its own.
    """
    settings, inside = layout.state / "etc", network.enter(layout.namespace)

    def kubelet(containerd: int) -> list[str]:
        argv = components.kubelet(
            programs / "kubelet",
            settings / "kubelet.json",
            settings / "kubelet.kubeconfig",
            layout.name,
            network.NODE_ADDRESS,
        )
        return [*inside, f"--mount=/proc/{containerd}/ns/mnt", *argv]

    binds = [word for pair in PRIVATE.items() for word in pair]
    containerd = ["unshare", "--mount", "sh", "-c", _CONTAINERD_SCRIPT, "sh", str(layout.state)]
    manager = components.controller_manager(
        programs / "kube-controller-manager",
        layout.pki,
        settings / "controller-manager.kubeconfig",
        CONTROLLER_MANAGER_PORT,
    )
    plain = {
        "etcd": components.etcd(Path("etcd"), layout.state / "etcd", ADDRESSES),
        "kube-apiserver": components.api_server(programs / "kube-apiserver", layout.pki, ADDRESSES),
        "kube-controller-manager": manager,
        "kube-scheduler": components.scheduler(
            programs / "kube-scheduler", settings / "scheduler.kubeconfig"
        ),
        "containerd": [*containerd, *binds],
        "kube-proxy": components.kube_proxy(
            programs / "kube-proxy", settings / "kube-proxy.kubeconfig", layout.name
        ),
    }
    made = {name: _always([*inside, *argv]) for name, argv in plain.items()}
    return {**made, "kubelet": kubelet}


def _always(argv: list[str]) -> Callable[[int], list[str]]:
    return lambda _containerd: argv


def forwarder_command(layout: Layout, api: int, demo: int) -> list[str]:
    """The forwarder's command line; `api` and `demo` are descriptors of its listening sockets."""
    return [
        *network.enter(layout.namespace),
        sys.executable,
        "-I",
        str(Path(forwarder.__file__)),
        f"{api}=127.0.0.1:{ADDRESSES.api_port}",
        f"{demo}=@{layout.demo_target}",
    ]
