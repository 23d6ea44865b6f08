"""What `up` does about the cluster that it finds."""

from __future__ import annotations

import pytest

from dev.cluster import cgroups, local, paths
from dev.cluster.errors import ClusterError
from dev.cluster.node import PROGRAMS, Facts
from dev.cluster.plan import Action, decide

WANTED = Facts(build="1.20.2-abc", boot="this", api_port=0, demo_port=0)
RUNNING = Facts(build="1.20.2-abc", boot="this", api_port=41000, demo_port=8080)
OTHER_BUILD = Facts(build="1.20.2-old", boot="this", api_port=41000, demo_port=8080)
OTHER_BOOT = Facts(build="1.20.2-abc", boot="other", api_port=41000, demo_port=8080)


@pytest.mark.parametrize(
    ("exists", "facts", "dead", "action"),
    [
        (False, None, PROGRAMS, Action.CREATE),
        (True, None, (), Action.REBUILD),
        (True, OTHER_BOOT, PROGRAMS, Action.REBUILD),
        (True, OTHER_BUILD, (), Action.REBUILD),
        (True, RUNNING, ("containerd",), Action.REBUILD),
        (True, RUNNING, ("kubelet", "etcd"), Action.RESTART),
        (True, RUNNING, (), Action.KEEP),
    ],
    ids=["nothing there", "start cut short", "rebooted", "another build", "containerd dead",
         "kubelet and etcd dead", "healthy"],
)  # fmt: skip
def test_up_does_no_more_than_is_needed(
    exists: bool, facts: Facts | None, dead: tuple[str, ...], action: Action
):
    alive = {name: name not in dead for name in PROGRAMS}

    assert decide(exists=exists, facts=facts, alive=alive, wanted=WANTED).action is action


def test_the_dead_are_started_again_in_the_order_of_a_start():
    alive = {name: name not in ("kubelet", "etcd") for name in PROGRAMS}

    plan = decide(exists=True, facts=RUNNING, alive=alive, wanted=WANTED)

    assert plan.dead == ("etcd", "kubelet")


def test_a_program_without_a_record_counts_as_dead():
    plan = decide(exists=True, facts=RUNNING, alive={}, wanted=WANTED)

    assert plan.action is Action.REBUILD


def test_two_clusters_get_different_ports():
    with local.listen(0, 1) as first:
        taken = first.getsockname()[1]
        with local.listen(taken, 1) as second:
            assert second.getsockname()[1] != taken


@pytest.mark.parametrize("name", ["", "Upper", "-dash", "dash-", "a/b", "x" * 41])
def test_a_name_that_cannot_name_a_namespace_is_refused(name: str):
    with pytest.raises(ClusterError, match="is no cluster name"):
        paths.cluster_name({"CV_FACTORY_CLUSTER_NAME": name})


def test_hierarchies_of_both_versions_are_used():
    mountinfo = (
        "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "31 30 0:27 / /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup rw,cpu\n"
        "32 30 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )

    assert [root.name for root in cgroups.hierarchies(mountinfo)] == ["cpu", "pids", "unified"]


def test_version_2_alone_is_one_hierarchy():
    mountinfo = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"

    assert [str(root) for root in cgroups.hierarchies(mountinfo)] == ["/sys/fs/cgroup"]
