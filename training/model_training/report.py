"""What the commands show: progress bars on stderr while they work, a summary on stdout at the end.

Keeping the two apart lets `--json` be piped while the bars still show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from model_training.check import DataReport
from model_training.data import ImageFolder, Loaded, Sample, load
from model_training.manifest import InputSpec

Summary = Mapping[str, object]

DIGEST_FITS: Final = 100  # columns: a digest that is cut or folded cannot be copied


def progress_bars() -> Progress:
    """Bars for the steps of one command; their last state stays on the screen."""
    return Progress(
        TextColumn("[bold]{task.description:<17}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


def note(sentence: str, bars: Progress | None = None) -> None:
    """Says something on stderr that a user should know, and goes on; above the bars, if there are
    any: else they would be drawn over it.
    """
    console = bars.console if bars else Console(stderr=True)
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def note_left_out(report: DataReport, bars: Progress | None = None) -> None:
    """Names every file that is not used, and counts the other findings."""
    for finding in report.left_out:
        note(f"left out: {finding.path} ({finding.kind}: {finding.detail})", bars)
    others = sum(report.counts.values()) - len(report.left_out)
    if others:
        words = f"{others} other findings; `model-train prepare --check {report.root}` lists them"
        note(words, bars)


def load_with_bar(
    folder: ImageFolder, samples: Sequence[Sample], spec: InputSpec, bars: Progress, title: str
) -> Loaded:
    """Decodes samples into memory with a bar of their own; raises DataError."""
    task = bars.add_task(f"{title} images", total=len(samples), note="")
    return load(folder, samples, spec, on_image=lambda: bars.advance(task))


def show(title: str, summary: Summary, *, as_json: bool) -> None:
    """Prints the summary as a table, or as one JSON object with the same names."""
    if as_json:
        Console().out(json.dumps(summary, indent=2), highlight=False)
        return
    table = Table(title=title, box=None, show_header=False, title_justify="left")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, value in summary.items():
        table.add_row(name.replace("_", " "), Text(_text(value)))
    console = Console()
    console.width = max(console.width, DIGEST_FITS)
    console.print(table)


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(str(part) for part in value)
        case dict():
            return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
        case _:
            return str(value)
