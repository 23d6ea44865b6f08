from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_server.cpu_limit import available_cpus

HERE = float(len(os.sched_getaffinity(0)))


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, HERE),
        ("0::/pod/main\n", {"pod/cpu.max": "25000 100000\n", "pod/main/cpu.max": "max 1\n"}, 0.25),
        ("0::/pod/main\n", {"cpu.max": "75000 100000\n"}, 0.75),
        (
            "4:cpu,cpuacct:/pod\n0::/\n",
            {"cpu/pod/cpu.cfs_quota_us": "10000\n", "cpu/pod/cpu.cfs_period_us": "100000\n"},
            0.1,
        ),
        (
            "4:cpu,cpuacct:/host/path\n",
            {"cpu/cpu.cfs_quota_us": "20000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.2,
        ),
        (
            "4:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            HERE,
        ),
        ("4:memory:/\n", {}, HERE),
        ("", {}, HERE),
    ],
    ids=[
        "v2 half a CPU",
        "v2 unlimited",
        "v2 limit on a parent",
        "v2 group mounted as the root",
        "v1",
        "v1 group mounted as the root",
        "v1 unlimited",
        "no CPU controller",
        "no cgroup",
    ],
)
def test_the_least_of_affinity_and_quotas_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float
):
    write(tmp_path / "root", files)
    (tmp_path / "membership").write_text(membership)
    assert available_cpus(tmp_path / "root", tmp_path / "membership") == expected
