"""The figures as a table, a picture and one line; `python -m tests.bench` has them made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.phases import Bare, Ours, percentile

CONVERGENCE_SECONDS_PER_1000 = 15.0
SHARE_OF_FLOOR = 0.9
RESTART_SECONDS = 15.0
IDLE_PERCENT = 1.0
EDIT_P50_MS, EDIT_P99_MS = 15.0, 50.0
KILOBYTES_EACH = 10.0
UNRELATED_MEGABYTES = 5.0
_HEAD = """\
# The operator with {size:,} resources

Measured by `make bench-operator RESOURCES={size}{alone} WRITE=1` on {processors} processors,
which the operator shares with etcd, the API server and what plays the workloads' pods.

"""
_PICTURE = """\
![Seconds until {size:,} resources have converged]({name}.svg)

"""


@dataclass(frozen=True)
class Found:
    """One run's figures."""

    size: int
    ours: Ours
    floor: Bare | None
    """None where only the operator was measured."""
    textbook_seconds: float | None
    unrelated: int
    """So many Deployments, and as many Secrets, of others."""
    unrelated_megabytes: float
    """What those added."""

    @property
    def share_of_floor(self) -> float:
        """The operator's rate as a share of the bare client's; 0 where that is not known."""
        return self.floor.seconds / self.ours.seconds if self.floor else 0.0

    @property
    def kilobytes_each(self) -> float:
        """Memory that a resource costs."""
        grown = self.ours.megabytes - self.ours.idle_megabytes
        return grown * 1024 / self.size

    @property
    def target_megabytes(self) -> float:
        """Between the two that are asked for: 120 at 1,000 resources, 250 at 10,000."""
        return 120 + (250 - 120) * max(0, self.size - 1000) / 9000


@dataclass(frozen=True)
class _Line:
    name: str
    target: str
    measured: str
    met: bool | None


def _lines(found: Found) -> Iterator[_Line]:
    ours, size, floor = found.ours, found.size, found.floor
    limit = CONVERGENCE_SECONDS_PER_1000 * size / 1000
    fast = ours.seconds <= limit or found.share_of_floor >= SHARE_OF_FLOOR
    yield _Line(
        f"{size} resources converge",
        f"{limit:g} s, or 90% of the floor's rate",
        f"{ours.seconds:.1f} s"
        + (f", {found.share_of_floor:.0%} of the floor's rate" if floor else ""),
        fast,
    )
    if floor:
        yield _Line("the same requests, bare client", "", f"{floor.seconds:.1f} s", None)
    if found.textbook_seconds is not None:
        yield _Line(
            "a textbook's kopf operator, same children", "", f"{found.textbook_seconds:.1f} s", None
        )
    each = ours.counted.total / size
    writes, passes = ours.counted.writes / size, ours.counted.passes / size
    words = f"{each:.1f} requests, {writes:.1f} of them writes, in {passes:.1f} passes"
    yield _Line("for each resource", "", words, None)
    target = found.target_megabytes
    yield _Line("memory", f"{target:.0f} MB", f"{ours.megabytes:.0f} MB", ours.megabytes <= target)
    yield _Line(
        "memory for each resource",
        f"{KILOBYTES_EACH:.0f} KB",
        f"{found.kilobytes_each:.1f} KB",
        found.kilobytes_each <= KILOBYTES_EACH,
    )
    if found.unrelated:
        yield _Line(
            f"memory for {found.unrelated} Deployments and Secrets of others",
            f"{UNRELATED_MEGABYTES:.0f} MB",
            f"{found.unrelated_megabytes:.1f} MB",
            found.unrelated_megabytes <= UNRELATED_MEGABYTES,
        )
    yield _Line(
        "restart, nothing changed",
        f"0 writes, {RESTART_SECONDS:.0f} s",
        f"{ours.restart.writes} writes, {ours.restart_seconds:.1f} s"
        f" (each looked at by {ours.looked_at_seconds:.0f} s)",
        not ours.restart.writes and ours.restart_seconds <= RESTART_SECONDS,
    )
    for name, percent, wanted in (("p50", 50, EDIT_P50_MS), ("p99", 99, EDIT_P99_MS)):
        took = percentile(ours.edits, percent)
        yield _Line(
            f"edit to child write, {name}",
            f"{wanted:.0f} ms",
            f"{took:.1f} ms"
            + (
                f"; bare client, which only writes, {percentile(floor.edits, percent):.1f} ms"
                if floor
                else ""
            ),
            took <= wanted,
        )
    yield _Line(
        "idle",
        f"0 writes, {IDLE_PERCENT:.0f}% of a core",
        f"{ours.idle.writes} writes, {ours.idle_cpu_percent:.1f}% of a core",
        not ours.idle.writes and ours.idle_cpu_percent <= IDLE_PERCENT,
    )


def table(found: Found) -> list[str]:
    """The figures in Markdown."""
    rows = ["| | target | measured | |", "| --- | --- | --- | --- |"]
    for line in _lines(found):
        met = "" if line.met is None else "met" if line.met else "not met"
        rows.append(f"| {line.name} | {line.target} | {line.measured} | {met} |")
    return rows


def last_line(found: Found) -> str:
    """What stands at the end of a run."""
    told = [line for line in _lines(found) if line.met is not None]
    ours = found.ours
    beside = ", ".join(
        f"{name} {seconds:.1f} s"
        for name, seconds in (
            ("floor", found.floor and found.floor.seconds),
            ("textbook", found.textbook_seconds),
        )
        if seconds is not None
    )
    return (
        f"resources {found.size}: converged in {ours.seconds:.1f} s"
        f"{f' ({beside})' if beside else ''},"
        f" {ours.megabytes:.0f} MB, restart {ours.restart.writes} writes in"
        f" {ours.restart_seconds:.1f} s; targets met {sum(bool(one.met) for one in told)}"
        f" of {len(told)}"
    )


def write(found: Found, folder: Path) -> None:
    """The table for the documentation, and the picture where there is something to compare."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"operator-{found.size}"
    seconds = {
        "the same requests,\nbare client": found.floor and found.floor.seconds,
        "CV Factory": found.ours.seconds,
        "textbook's operator\n(waits for nothing)": found.textbook_seconds,
    }
    known = {label: value for label, value in seconds.items() if value is not None}
    compares = len(known) > 1
    head = _HEAD.format(
        size=found.size, processors=os.cpu_count(), alone="" if compares else " ALONE=1"
    )
    if compares:
        head += _PICTURE.format(size=found.size, name=name)
        _draw(known, found.size, folder / f"{name}.svg")
    (folder / f"{name}.md").write_text(head + "\n".join(table(found)) + "\n")


def _draw(seconds: Mapping[str, float], size: int, file: Path) -> None:
    """How long each took."""
    # Slow to import, and only needed here.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    colours = ["#9aa5b1", "#2f6fab", "#c9ced6"]
    drawn = axes.barh(list(seconds), list(seconds.values()), color=colours)
    axes.bar_label(drawn, fmt="%.1f s", padding=4)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds until {size} resources have converged")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
