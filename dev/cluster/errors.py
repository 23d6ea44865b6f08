"""What can go wrong with the cluster; each error's text is the sentence that the user reads.

ClusterError
+-- BinariesMissing     the Kubernetes programs have not been built
+-- BuildFailed         the Kubernetes programs cannot be built
+-- PackagesMissing     a Debian package is missing and cannot be installed
+-- NoClusterPossible   neither Docker with kind nor root on Debian is there
+-- NotHealthy          a component did not start or died
"""

from __future__ import annotations


class ClusterError(Exception):
    """Base of all: `python3 -m dev.cluster` prints it as one line and ends with status 1."""


class BinariesMissing(ClusterError):
    """etcd or the API server is nowhere to be found."""


class BuildFailed(ClusterError):
    """The Kubernetes programs could not be built from their source package."""


class PackagesMissing(ClusterError):
    """Debian packages are needed that could not be installed."""


class NoClusterPossible(ClusterError):
    """No cluster of the kind that was asked for can run on the machine."""


class NotHealthy(ClusterError):
    """A component of the cluster did not become ready, or has died."""
