"""Shows the MLflow of the demo's cluster on this machine: `make mlflow-ui`."""

from __future__ import annotations

import signal
import sys

from dev.cluster.choice import choose
from dev.cluster.errors import ClusterError
from dev.kube import CommandFailed, Kube
from dev.stage import MLFLOW_NAMESPACE, MLFLOW_PORT


def main() -> int:
    """Forwards the port until Ctrl-C."""
    try:
        kube = Kube(choose().kubeconfig)
        with kube.port_forward(
            MLFLOW_NAMESPACE, "service/mlflow", MLFLOW_PORT, local=MLFLOW_PORT
        ) as url:
            print(f"MLflow: {url} (Ctrl-C ends it)", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except (ClusterError, CommandFailed) as error:
        print(f"mlflow-ui: {error}; `make demo` puts MLflow into the cluster", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
