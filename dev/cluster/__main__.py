"""The command line of the cluster: `python3 -m dev.cluster up|down|status|forward|build`."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from dev.cluster import controlplane, paths
from dev.cluster.choice import Cluster, choose
from dev.cluster.errors import ClusterError
from dev.progress import duration, say


def up() -> int:
    """Makes the cluster, or sees that it is healthy."""
    started = time.monotonic()
    cluster = choose()
    say(f"cluster {paths.cluster_name()} ({cluster.kind})")
    cluster.up()
    _describe(cluster)
    say(f"cluster up in {duration(time.monotonic() - started)}")
    return 0


def down() -> int:
    """Removes the cluster."""
    started = time.monotonic()
    cluster = choose()
    cluster.down()
    say(f"cluster {paths.cluster_name()} down in {duration(time.monotonic() - started)}")
    return 0


def status() -> int:
    """Says what runs; 1 when it is not healthy."""
    cluster = choose()
    problems = cluster.problems()
    say(f"cluster {paths.cluster_name()} ({cluster.kind}): {'; '.join(problems) or 'healthy'}")
    _describe(cluster)
    return 1 if problems else 0


def _describe(cluster: Cluster) -> None:
    for line in cluster.describe():
        say(f"  {line}")


def main(arguments: list[str]) -> int:
    """Runs one command; an error of the cluster is one line and status 1."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="make a healthy cluster")
    verbs.add_parser("down", help="remove it")
    verbs.add_parser("status", help="say what runs; status 1 when it is not healthy")
    verbs.add_parser("build", help="only build the Kubernetes programs")
    verbs.add_parser("kubeconfig", help="print the path of the kubeconfig")
    pointing = verbs.add_parser("forward", help="point the demo port into the cluster")
    pointing.add_argument("target", metavar="HOST:PORT")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what we run ends with us
    try:
        if chosen.verb == "build":
            say(str(controlplane.prepare()))
        elif chosen.verb == "kubeconfig":
            say(str(choose().kubeconfig))
        elif chosen.verb == "forward":
            say(choose().forward(chosen.target))
        else:
            return {"up": up, "down": down, "status": status}[chosen.verb]()
    except ClusterError as problem:
        print(f"{chosen.verb}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{chosen.verb}: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
