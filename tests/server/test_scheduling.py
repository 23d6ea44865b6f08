from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model_server import scheduling
from model_server.workers import Workers

ASK = """
import os, threading
from model_server import scheduling
{before}
asked = scheduling.shorten_slice()
read = lambda: open(f"/proc/self/task/{{threading.get_native_id()}}/sched").read()
later = []
thread = threading.Thread(target=lambda: later.append(read()))
thread.start()
thread.join()
slices = [line.split()[-1] for line in later[0].splitlines() if line.startswith("se.slice")]
print(asked, os.getpriority(os.PRIO_PROCESS, 0), *slices)
"""


def asked(before: str = "") -> list[str]:
    """Whether it was taken, the niceness, and a later thread's slice where it is shown."""
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_threads_that_are_started_later_have_the_slice_and_niceness_stays():
    taken, nice, *slices = asked("os.nice(5)")
    assert (taken, nice) == ("True", str(min(19, os.nice(0) + 5)))
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if slices and kernel >= (6, 12):
        assert slices == [str(scheduling.NANOSECONDS)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
async def test_a_prediction_has_a_longer_slice_than_the_event_loop_which_interrupts_it():
    workers = Workers(queue_size=0, threads=1)
    try:
        shown = await workers.run(own_slice)
    finally:
        workers.close()
    if shown is None:
        pytest.skip("the kernel does not show slices")
    assert scheduling.NANOSECONDS < shown <= 10 * scheduling.NANOSECONDS


def own_slice() -> int | None:
    """Nanoseconds, of the thread that calls; None where the kernel does not show it."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/sched")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[-1]) for line in lines if line.startswith("se.slice")), None)


def test_another_policy_is_left_as_it_is():
    assert asked("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))")[0] == "False"


def test_a_refusal_is_no_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduling, "_SCHED_SETATTR", dict.fromkeys(("x86_64", "aarch64"), -1))
    assert not scheduling.shorten_slice()


def test_a_machine_that_is_not_known_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduling.platform, "machine", lambda: "riscv64")
    assert not scheduling.shorten_slice()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
async def test_a_copy_is_predicted_where_nobody_else_wants_the_processor_and_a_client_s_is_not():
    workers = Workers(queue_size=0, threads=1)
    try:
        policy = functools.partial(os.sched_getscheduler, 0)
        assert await workers.run(policy, copied=True) == os.SCHED_IDLE
        assert await workers.run(policy) == os.SCHED_OTHER
    finally:
        workers.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
async def test_where_the_system_refuses_that_a_copy_is_predicted_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
):
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(scheduling.os, "sched_setscheduler", refuse)
    workers = Workers(queue_size=0, threads=1)
    try:
        assert await workers.run(lambda: "predicted", copied=True) == "predicted"
    finally:
        workers.close()


async def test_what_cannot_be_handed_to_a_thread_leaves_its_place():
    workers = Workers(queue_size=0, threads=1)
    workers.close()
    given_back: list[str] = []
    with pytest.raises(RuntimeError):
        workers.run(lambda: None, lambda: given_back.append("room"))
    assert given_back == ["room"]
    assert workers.pending == 0
