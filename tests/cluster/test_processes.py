"""Processes are known by pid and start time, and only those are ended."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import processes
from dev.cluster.processes import Record, Records


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def known(process: subprocess.Popen[bytes]) -> Record:
    record = processes.record_of("sleeper", process.pid)
    assert record is not None
    return record


def test_a_name_with_blanks_and_brackets_does_not_confuse_the_start_time():
    fields = " ".join(["S", *(str(n) for n in range(4, 53))])

    assert processes.parse_stat(f"42 (a ) b (c) {fields}") == ("S", 22)


def test_a_running_process_is_alive_until_it_ends(sleeper: subprocess.Popen[bytes]):
    record = known(sleeper)
    assert record.is_alive()

    sleeper.kill()
    sleeper.wait()

    assert not record.is_alive()
    assert processes.record_of("sleeper", sleeper.pid) is None


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]):
    record = known(sleeper)

    processes.end([record], grace=10)  # we are its parent and have not waited for it yet

    assert sleeper.returncode is None
    assert not record.is_alive()


def test_another_process_under_the_same_pid_is_neither_alive_nor_ended(
    sleeper: subprocess.Popen[bytes],
):
    record = known(sleeper)
    earlier = dataclasses.replace(record, start_time=record.start_time - 1)
    other_boot = dataclasses.replace(record, boot="another")

    processes.end([earlier, other_boot], grace=0)

    assert not earlier.is_alive()
    assert not other_boot.is_alive()
    assert record.is_alive()


def test_one_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path):
    script = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    processes.end([known(process)], grace=0.2)

    process.stdout.close()
    assert process.wait(timeout=10) == -9


def test_a_started_process_has_a_session_of_its_own_and_its_output_in_the_log(tmp_path: Path):
    log = tmp_path / "logs" / "it.log"

    pid = processes.start(["sh", "-c", "ps -o sid= -p $$; echo $A"], log, {"A": "b"})

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert log.read_text().split() == [str(pid), "b"]


def test_records_are_read_back_and_replaced_by_name(tmp_path: Path):
    records = Records(tmp_path / "processes")
    assert records.all() == {}
    first, second = Record("etcd", 7, 100, "boot"), Record("kubelet", 8, 90, "boot")

    records.add(first)
    records.add(second)
    records.add(dataclasses.replace(first, pid=9, start_time=80))

    assert list(records.all()) == ["etcd", "kubelet"]
    assert records.all()["etcd"].pid == 9
