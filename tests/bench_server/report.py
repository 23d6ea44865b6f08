"""The figures as a page, a picture and one line; `python -m tests.bench_server` has them made."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from tests.bench_server.campaign import Plan, Record
from tests.bench_server.contenders import CONTENDERS, CPUS, Comparison
from tests.bench_server.figures import (
    CONNECTIONS,
    FLOOR,
    Figures,
    Found,
    Key,
    Target,
    medians,
    targets,
)
from tests.bench_server.material import MAIN

HEADINGS = ("CPU-ms per request", "requests/s", "p50, ms", "p99, ms")
COLOURS = {
    Comparison.OURS: "#2f6fab",
    Comparison.WELL_WRITTEN: "#9aa5b1",
    Comparison.ADVISED: "#c9ced6",
    Comparison.SAME_ENGINE: "#e3c78f",
}
INTRODUCTION = """\
# This server beside its peers

`make bench-server` writes this page. Every server has the same weights (SimpleCNN, channels
3-32-64-128-256, input 128x128, 2 classes, from a seed), is sent the same JPEG files over kept-alive
connections from one process on the same machine, and has each of its answers checked against
float32 PyTorch on Pillow's pixels. Only one server runs at a time; each figure is the median of
{rounds}, in which all take their turn. CPU is that of the server's whole tree of processes.

Peers stand as their documentation advises, with as many workers as there are CPUs, KServe with one
(`tests/bench_server/peers`): well-written FastAPI keeps the loop free and each picture in one
thread, with channels last; LitServe forms batches; BentoML takes a form; KServe and MLflow take
base64 in JSON. *With the same engine* means that this server's own decoding and engine run in that
peer, so what is left is the cost of serving.

{machine}. This server's engine: {engine}. Peers: {versions}.
"""


def summary(record: Record) -> dict[Key, Figures]:
    """The medians of what was measured."""
    return {key: medians(rounds) for key, rounds in record.measured.items()}


def page(plan: Plan, record: Record) -> list[str]:
    """All that there is to say, in Markdown, without a headline."""
    found = summary(record)
    lines: list[str] = []
    for one in plan.sets:
        kilobytes = "{} to {} KB".format(*one.kilobytes)
        lines += ["", f"## {one.count} pictures of {one.width}x{one.height}, {kilobytes}", ""]
        lines += _table(found, one.name)
    lines += ["", "## What is promised, at 500x375", ""]
    lines += ["| | target | measured | |", "| --- | --- | --- | --- |"]
    for target in _targets(found, record):
        met = {None: "", True: "met", False: "not met"}[target.met]
        lines.append(f"| {target.name} | {target.target} | {target.measured} | {met} |")
    counts = f"{record.requests} answers, {record.wrong} wrong, {record.failed} failed"
    return [*lines, "", f"{counts}.", *(f"- {trouble}" for trouble in record.troubles)]


def last_line(plan: Plan, record: Record) -> str:
    """What stands at the end of a run."""
    found = summary(record)
    promised = _targets(found, record)
    told = [one for one in promised if one.met is not None]
    costs = [
        f"{name} {found[key].cpu_milliseconds:.1f}"
        for name in (one.name for one in plan.contenders)
        if (key := Key(name, MAIN, 32)) in found
    ]
    return (
        f"bench-server: answers {record.requests}, wrong {record.wrong}, failed {record.failed};"
        f" CPU-ms per request at 32 connections: {', '.join(costs)};"
        f" targets met {sum(bool(one.met) for one in told)} of {len(told)},"
        f" not measured {len(promised) - len(told)}"
    )


def write(plan: Plan, record: Record, folder: Path) -> None:
    """The page and its picture, for the documentation."""
    folder.mkdir(parents=True, exist_ok=True)
    rounds = f"{plan.rounds} rounds" if plan.rounds > 1 else "one round"
    introduction = INTRODUCTION.format(
        rounds=rounds, machine=machine(), engine=record.engine, versions=", ".join(_versions(plan))
    )
    picture = "![CPU for one request, by server](server.svg)"
    text = "\n".join([introduction, picture, *page(plan, record)])
    (folder / "server.md").write_text(text + "\n")
    draw(summary(record), folder / "server.svg")


def machine() -> str:
    """The processor, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")
    bfloat16 = "with" if has_bfloat16() else "without"
    return f"{CPUS} CPUs ({model}, {bfloat16} bfloat16), Python {platform.python_version()}"


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 by itself."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def draw(found: Found, path: Path) -> None:
    """CPU of one request at 32 connections, a bar for each server."""
    # Slow to import, and only needed here.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "cv-factory"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    bars = {
        one.title: (found[key].cpu_milliseconds, COLOURS[one.comparison])
        for one in CONTENDERS
        if (key := Key(one.name, MAIN, 32)) in found
    }
    threads = [key for key in found if key.contender == FLOOR and key.pictures == MAIN]
    if threads:
        floor = found[max(threads, key=lambda key: key.connections)]
        bars["decoding and inference alone"] = (floor.cpu_milliseconds, "#7fb38a")
    figure, axes = plt.subplots(figsize=(7.5, 0.6 + 0.33 * len(bars)), layout="constrained")
    values, colours = [value for value, _ in bars.values()], [colour for _, colour in bars.values()]
    drawn = axes.barh(list(bars), values, color=colours)
    axes.bar_label(drawn, fmt="%.1f", padding=4)
    axes.invert_yaxis()
    axes.set_xlabel("server's CPU for one request, ms (500x375, 32 connections)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _table(found: Found, pictures: str) -> Iterator[str]:
    """A row for each server; in a cell, the figures at 1, 8 and 32 connections."""
    yield f"Each cell: at {', '.join(map(str, CONNECTIONS[:-1]))} and {CONNECTIONS[-1]} connections"
    yield ""
    yield "| | " + " | ".join(HEADINGS) + " |"
    yield "| --- |" + " ---: |" * len(HEADINGS)
    for one in CONTENDERS:
        cells = [found.get(Key(one.name, pictures, number)) for number in CONNECTIONS]
        if any(cells):
            yield _row(one.title, cells)
    threads = sorted(
        key.connections for key in found if (key.contender, key.pictures) == (FLOOR, pictures)
    )
    if threads:
        words = " and ".join(map(str, threads))
        title = f"decoding and inference alone, {words} thread{'s' if threads != [1] else ''}"
        yield _row(title, [found[Key(FLOOR, pictures, number)] for number in threads])


def _row(title: str, cells: list[Figures | None]) -> str:
    columns = (
        [f"{one.cpu_milliseconds:.2f}" if one else "-" for one in cells],
        [f"{one.per_second:.0f}" if one else "-" for one in cells],
        [f"{one.p50:.1f}" if one else "-" for one in cells],
        [f"{one.p99:.1f}" if one else "-" for one in cells],
    )
    return f"| {title} | " + " | ".join(" / ".join(column) for column in columns) + " |"


def _targets(found: Found, record: Record) -> list[Target]:
    return list(targets(found, in_bfloat16=record.in_bfloat16))


def _versions(plan: Plan) -> Iterator[str]:
    """Each peer's own package, once."""
    told = set()
    for one in plan.contenders:
        for requirement in one.environment.requirements[:1]:
            if requirement not in told:
                told.add(requirement)
                yield requirement.replace("==", " ")
