from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.bench_server import process_tree
from tests.bench_server.process_tree import Process, cpu_seconds, tree


def process(pid: int, parent: int, session: int = 1, ticks: int = 0) -> Process:
    return Process(pid, parent, session, ticks, started=pid)


def pids(found: list[Process]) -> list[int]:
    return [one.pid for one in found]


def test_children_of_children_belong_to_the_tree_and_others_do_not():
    processes = [process(9, 7), process(7, 5), process(5, 1), process(6, 1), process(8, 6)]
    assert pids(tree(5, processes)) == [5, 7, 9]


def test_a_worker_whose_parent_has_ended_still_belongs_by_its_session():
    processes = [process(5, 2, session=5), process(8, 1, session=5), process(9, 8, session=9)]
    assert pids(tree(5, processes)) == [5, 8, 9]


def test_of_a_process_that_is_gone_nothing_is_left():
    assert tree(5, [process(6, 1)]) == []


def test_the_cost_is_the_sum_over_the_tree():
    ticks = os.sysconf("SC_CLK_TCK")
    assert cpu_seconds([process(5, 1, ticks=ticks), process(6, 5, ticks=ticks // 2)]) == 1.5


@pytest.mark.parametrize("name", ["a) S 9 9", "(((", "plain"])
def test_a_process_may_be_called_anything(name):
    stat = f"7 ({name}) S 3 7 5 0 -1 0 0 0 0 0 11 4 2 1 20 0 3 0 99 0"
    assert process_tree.parse(stat) == Process(7, 3, 5, 18, 99)


BURN = "import time; until = time.process_time() + 0.3\nwhile time.process_time() < until: pass\n"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {BURN + "print('burnt', flush=True); input()"!r}])
child.wait()
print("ended", flush=True)
input()
"""


def test_what_a_child_burns_is_counted_and_still_when_it_has_ended():
    command = [sys.executable, "-c", PARENT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"burnt\n"
        living = process_tree.read(parent.pid)
        assert len(living) == 2
        assert cpu_seconds(living) >= 0.25
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"ended\n"
        left = process_tree.read(parent.pid)
        assert pids(left) == [parent.pid]
        assert cpu_seconds(left) >= 0.25
        parent.stdin.close()
