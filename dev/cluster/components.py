"""The command lines and settings of Kubernetes' own programs.

Called by the control plane for tests (etcd, API server, controller manager) and by the local
cluster (all of them). Pure: paths and addresses in, arguments and settings out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"  # the first address of the range: Service `kubernetes`
POD_RANGE = "10.244.0.0/16"
PAUSE_IMAGE = "localhost/pause:1"
# The clients' limits (default 20 to 50 a second) would otherwise be what a load test measures.
CLIENT_RATE = ("--kube-api-qps=400", "--kube-api-burst=800")


@dataclass(frozen=True, slots=True)
class ControlPlaneAddresses:
    """Where the control plane listens and what it makes known."""

    bind: str  # the API server's listening address
    advertised: str  # the address that pods reach it at
    api_port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def url(self) -> str:
        """The API server as seen from the namespace that it runs in."""
        return f"https://127.0.0.1:{self.api_port}"


def etcd(program: Path, data: Path, at: ControlPlaneAddresses) -> list[str]:
    """One member; it does not wait for the disk, since nothing here outlives the boot."""
    client, peer = f"http://127.0.0.1:{at.etcd_port}", f"http://127.0.0.1:{at.etcd_peer_port}"
    return [
        str(program),
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        f"--quota-backend-bytes={8 << 30}",
        "--log-level=warn",
    ]


def api_server(program: Path, pki: Path, at: ControlPlaneAddresses) -> list[str]:
    """The API server: RBAC on, the aggregation layer ready for a test's own metrics API."""
    return [
        str(program),
        f"--etcd-servers=http://127.0.0.1:{at.etcd_port}",
        f"--secure-port={at.api_port}",
        f"--bind-address={at.bind}",
        f"--advertise-address={at.advertised}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        "--enable-aggregator-routing=true",
    ]


def controller_manager(program: Path, pki: Path, kubeconfig: Path, port: int) -> list[str]:
    """The real controllers, each with its own service account."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=false",
        "--leader-elect=false",
        *CLIENT_RATE,
    ]


def scheduler(program: Path, kubeconfig: Path) -> list[str]:
    """The scheduler."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        *CLIENT_RATE,
    ]


def kube_proxy(program: Path, kubeconfig: Path, node: str) -> list[str]:
    """kube-proxy; a change of endpoints is live after at most a tenth of a second."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node}",
        f"--cluster-cidr={POD_RANGE}",
        "--proxy-mode=iptables",
        "--iptables-min-sync-period=100ms",
        "--conntrack-max-per-core=0",  # sysctls of the machine, not of the namespace
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def kubelet(program: Path, config: Path, kubeconfig: Path, node: str, address: str) -> list[str]:
    """The kubelet, with containerd by CRI."""
    return [
        str(program),
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        "--container-runtime=remote",
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
        f"--pod-infra-container-image={PAUSE_IMAGE}",
        f"--node-ip={address}",
        f"--hostname-override={node}",
    ]


def kubelet_configuration(pki: Path, cgroup: str) -> str:
    """The kubelet's settings file: it admits what fits, and never throws an image away."""
    settings: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # 100 switches the collection off
        "maxPods": 250,
        "podPidsLimit": -1,
        "resolvConf": "",  # no cluster DNS, and the machine's resolver cannot be reached
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "1s",
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "readOnlyPort": 0,
    }
    return json.dumps(settings, indent=2)


def containerd_configuration(pod_networks: Path) -> str:
    """Containerd's settings. Its folders are private to the cluster's mount namespace."""
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{pod_networks}"
"""


def pod_network() -> str:
    """CNI settings: a bridge, addresses by host-local, host ports by portmap."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_RANGE}]],  # one node: all are its own
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    settings = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}
    return json.dumps(settings, indent=2)
