"""`make test-hostile-models`: every model that means harm, given to the real processes.

Pickles that run code in every file that one can hide in, artifacts whose bytes say something wrong,
wrong digests, links, and archives that bomb or lead out of their folder. Each pickle is first shown
to leave its mark when it is just loaded. Then each sample goes to `model_server.main`, each archive
to `model_server.fetch`, in a process of its own: it must end with status 3, never having been
ready, with one sentence as its termination message, and without a mark. A good model is served.

The last line is `hostile models: samples N, marks shown M, marks 0, ...`. Exit status 1 when a
sample was served, left a mark, or ended in any other way.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import multiprocessing
import os
import pickle
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from model_server import fetch, main, serve
from tests.server.artifacts import make_artifact
from tests.server.hostile_artifacts import HOSTILE
from tests.server.hostile_pickles import CODE, CONTAINERS
from tests.server.test_source_archives import LIMIT, REFUSED

_SECONDS = 120
_EXPECTED = {"artifact", "log", "message", "model", "model.json", "model.safetensors"}
_FORK = multiprocessing.get_context("fork")
_IMPORTED_ONCE = (serve, torch)  # for all of them


@dataclass(frozen=True)
class Sample:
    """One model, and what is to be said of it."""

    name: str
    make: Callable[[Path], list[str]]
    """Makes it in a folder, and returns the process's arguments."""
    sentence: str
    """A pattern in the termination message."""
    command: Callable[[list[str]], int] = main.main
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Ended:
    """How the process with a sample ended."""

    status: int | None
    message: str
    was_ready: bool

    def fault(self, sample: Sample) -> str | None:
        """Return what is wrong with that, if anything is."""
        if self.was_ready:
            return "it was ready"
        if self.status != 3:
            return f"it ended with {self.status} instead of 3"
        if len(self.message.splitlines()) != 1 or not re.search(sample.sentence, self.message):
            return f"its last words are {self.message!r}"
        return None


def samples(archives: str) -> Iterator[Sample]:
    """Yield all of them; `archives` is the address of a web server over `archive_files`."""
    for kind, (name, wrap) in CONTAINERS.items():
        for code, make in CODE.items():
            yield Sample(f"{code} in {kind}", _with_code(name, wrap, make), re.escape(name))
    for what, artifact, sentence in HOSTILE:
        yield Sample(what, functools.partial(_serving, artifact), sentence)
    other = (("MODEL_SHA256", "0" * 64),)
    yield Sample(
        "another digest",
        functools.partial(_serving, make_artifact),
        "was asked for",
        environment=other,
    )
    for part in ("model.json", "model.safetensors"):
        yield Sample(f"a link for {part}", _with_link(part), "not a regular file")
    for number, (what, _, sentence) in enumerate(REFUSED):
        arguments = ["--uri", f"{archives}/{number}.zip", "--sha256", "0" * 64]
        limits = (("FETCH_ALLOW_HTTP", "true"), ("MAX_ARTIFACT_BYTES", str(LIMIT)))
        yield Sample(
            f"archive: {what}",
            functools.partial(_fetching, arguments),
            re.escape(sentence),
            fetch.main,
            limits,
        )


def archive_files(folder: Path) -> None:
    """Write the archives, each under its number."""
    for number, (_, make, _) in enumerate(REFUSED):
        (folder / f"{number}.zip").write_bytes(make())


def _serving(make: Callable[[Path], Path], folder: Path) -> list[str]:
    return ["--artifact", str(make(folder / "artifact")), "--host", "127.0.0.1", "--port", "0"]


def _fetching(arguments: list[str], folder: Path) -> list[str]:
    return [*arguments, "--out", str(folder / "model")]


def _with_code(
    name: str, wrap: Callable[[bytes], bytes], code: Callable[[Path], bytes]
) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        content = wrap(code(folder / "mark"))
        return _serving(
            lambda artifact: make_artifact(
                artifact,
                weights_name=name,
                write_weights=lambda path: path.write_bytes(content) and None,
            ),
            folder,
        )

    return make


def _with_link(part: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        arguments = _serving(make_artifact, folder)
        linked = folder / "artifact" / part
        linked.rename(folder / part)
        linked.symlink_to(folder / part)
        return arguments

    return make


def try_one(sample: Sample, folder: Path) -> Ended:
    """Run the sample's process in an empty folder, and see how it ends."""
    arguments = sample.make(folder)
    process = _FORK.Process(target=_child, args=(sample, arguments, folder))
    process.start()
    deadline = time.monotonic() + _SECONDS
    while process.is_alive() and time.monotonic() < deadline and not _was_ready(folder):
        process.join(0.05)
    process.kill()
    process.join()
    message = folder / "message"
    last_words = message.read_text() if message.exists() else ""
    return Ended(process.exitcode, last_words, _was_ready(folder))


def _was_ready(folder: Path) -> bool:
    """Whether the process says in its log that it serves, or has put the artifact in its place."""
    log = folder / "log"
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    events = {json.loads(line)["event"] for line in lines if line.endswith("\n")}
    return bool(events & {"ready", "fetched"})


def _child(sample: Sample, arguments: list[str], folder: Path) -> None:
    with (folder / "log").open("wb") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.environ["TERMINATION_MESSAGE_PATH"] = str(folder / "message")
    os.environ.update(sample.environment)
    sys.exit(sample.command(arguments))


def shown_marks(folder: Path) -> int:
    """Load each pickle as nobody should, and return how many have left their mark."""
    count = 0
    for number, make in enumerate(CODE.values()):
        mark = folder / f"mark-{number}"
        pickle.loads(make(mark))
        count += mark.is_dir()
    return count


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve the folder from a process of its own, and yield the address."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        process = _FORK.Process(target=web.serve_forever, daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            process.kill()
            process.join()


def run(folder: Path, every: int) -> tuple[int, int, list[str]]:
    """Try one sample of so many: how many these were, their marks, and what was wrong."""
    (folder / "archives").mkdir()
    archive_files(folder / "archives")
    marks, faults = 0, []
    with web_server(folder / "archives") as address:
        chosen = list(samples(address))[::every]
        for number, sample in enumerate(chosen):
            room = folder / str(number)
            room.mkdir()
            fault = try_one(sample, room).fault(sample)
            marked = (room / "mark").exists()
            marks += marked
            if fault is not None:
                faults.append(f"{sample.name}: {fault}")
            if marked or {path.name for path in room.iterdir()} - _EXPECTED:
                faults.append(f"{sample.name}: it left something behind")
    return len(chosen), marks, faults


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def play() -> int:
    """Try them, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.hostile_models")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try one of N; default 1")
    every = parser.parse_args().every
    torch.set_num_threads(1)  # before the first work: what is forked has no other thread
    with tempfile.TemporaryDirectory() as name:
        shown = shown_marks(Path(name))
        good = Sample("a good model", functools.partial(_serving, make_artifact), "")
        (Path(name) / "good").mkdir()
        is_seen = try_one(good, Path(name) / "good").was_ready
        count, marks, faults = run(Path(name), every)
    figures = (
        f"hostile models: samples {count}, ways to run code {len(CODE)}, of them shown by a plain"
        f" pickle.load {shown}, marks {marks}, wrong ends {len(faults)},"
        f" a good model served {int(is_seen)}"
    )
    sys.stdout.write("\n".join([*faults, figures]) + "\n")
    return 1 if faults or marks or shown != len(CODE) or not is_seen else 0


if __name__ == "__main__":
    sys.exit(play())
