"""Makes the certificates and kubeconfigs of a cluster with openssl.

Called by the control plane for tests and by the local cluster. Keys are P-256, good for a year:
a cluster that lives longer than that is made anew.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dev.cluster.errors import ClusterError

DAYS = "365"
_CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
string_mask = utf8only
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ${ENV::CERTIFICATE_NAMES}
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
"""


class Authority:
    """A certificate authority in a folder; makes the files `<name>.crt` and `<name>.key`."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.name = name
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        (directory / "openssl.cnf").write_text(_CONFIGURATION)
        self._make(name, "ca", f"/CN={name}")

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.directory / f"{self.name}.crt"

    def client(self, name: str, user: str, group: str = "") -> None:
        """A client certificate: Kubernetes takes CN as the user and O as the group."""
        self._make(name, "client", (f"/O={group}" if group else "") + f"/CN={user}")

    def server(self, name: str, hosts: Sequence[str], addresses: Sequence[str]) -> None:
        """A server certificate for these host names and addresses."""
        names = ",".join([*(f"DNS:{h}" for h in hosts), *(f"IP:{a}" for a in addresses)])
        self._make(name, "server", f"/CN={name}", names)

    def _make(self, name: str, extensions: str, subject: str, names: str = "DNS:none") -> None:
        signed = []
        if extensions != "ca":
            signed = ["-CA", str(self.certificate), "-CAkey", f"{self.directory / self.name}.key"]
        path = self.directory / name
        openssl(
            "req", "-x509", "-config", str(self.directory / "openssl.cnf"),
            "-extensions", extensions, "-subj", subject, "-days", DAYS, *signed,
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
            "-keyout", f"{path}.key", "-out", f"{path}.crt", names=names,
        )  # fmt: skip


def service_account_keys(directory: Path) -> None:
    """The key pair that signs service account tokens: `sa.key` and `sa.pub`."""
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-out", str(directory / "sa.key"))  # fmt: skip
    openssl("pkey", "-in", str(directory / "sa.key"), "-pubout", "-out", str(directory / "sa.pub"))


def openssl(*arguments: str, names: str = "") -> None:
    """Runs openssl (3.0 or later); raises ClusterError with its own words."""
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "CERTIFICATE_NAMES": names},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ClusterError("openssl is not installed: install it and try again.") from None
    if done.returncode != 0:
        raise ClusterError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def write_kubeconfig(path: Path, cluster: str, url: str, pki: Path, user: str) -> None:
    """Writes a kubeconfig (as JSON, which is YAML) with the certificates inside, mode 0600."""

    def data(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    credentials = {
        "client-certificate-data": data(f"{user}.crt"),
        "client-key-data": data(f"{user}.key"),
    }
    server = {"server": url, "certificate-authority-data": data("ca.crt")}
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(body, indent=2) + "\n")
