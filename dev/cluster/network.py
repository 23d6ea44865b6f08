"""The network namespace that a local cluster lives in: one node's network, with no way out.

Called by the local cluster. The namespace is entered with `nsenter --net=`, never `ip netns exec`:
the latter mounts a fresh /sys and hides the control groups, which the kubelet needs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from dev.cluster.components import SERVICE_RANGE
from dev.cluster.errors import ClusterError

NODE_ADDRESS = "172.30.0.1"
_NOBODY = "172.30.0.254"

# The node's interface is a bridge with one end of a veth pair, so that it has a carrier; the
# dummy driver is not on every machine. The Services' addresses need a route, though kube-proxy
# rewrites them before it is taken. There is no default route: what is sent anywhere else fails at
# once (the kubelet looks for cloud providers at its start, and would wait for each).
# Values of /proc/sys/net belong to the namespace.
_SCRIPT = f"""
set -e
ip link set lo up
ip link add node0 type bridge
ip addr add {NODE_ADDRESS}/24 dev node0
ip link set node0 up
ip link add node0-in type veth peer name node0-out
ip link set node0-in master node0
ip link set node0-in up
ip link set node0-out up
ip route add {SERVICE_RANGE} via {_NOBODY} dev node0
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
"""


def path(namespace: str) -> Path:
    """The file that the namespace is known by."""
    return Path("/run/netns") / namespace


def enter(namespace: str) -> list[str]:
    """The words to put before a command so that it runs in the namespace."""
    return ["nsenter", f"--net={path(namespace)}"]


def create(namespace: str) -> None:
    """Makes the namespace with the node's interface in it."""
    if not Path("/proc/sys/net/bridge").is_dir():
        _run(["modprobe", "br_netfilter"], "Services need the kernel's br_netfilter module")
    _run(["ip", "netns", "add", namespace], "the network namespace cannot be made")
    _run([*enter(namespace), "sh", "-c", _SCRIPT], "the node's network cannot be made")


def remove(namespace: str) -> None:
    """Removes the namespace; its interfaces, rules and routes go with it."""
    if path(namespace).exists():
        _run(["ip", "netns", "delete", namespace], "the network namespace cannot be removed")


def can_make_namespaces() -> bool:
    """Whether this process may make network namespaces: root, with the right to."""
    if os.geteuid() != 0:
        return False
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{purpose}: {done.stderr.strip() or command}")
