"""How this process's threads share the processor with others: clients first, copies last.

Linux shares a CPU between those who want it in turns of a slice, 1.4 ms and more, which may last
until the next tick of its clock. Where servers stand side by side, such as a shadow and the
revision that it is compared with, every request would wait for turns of another one's. From Linux
6.12 on a thread may ask for a slice of its own: its share of the CPU stays the same, in shorter
turns. One that wakes up runs at once in place of one with a longer slice: so the event loop, which
has the shortest, takes a request or a probe in the middle of a prediction. A thread whose work
nobody waits for may ask to run only where nobody else wants to: a CPU that runs such a thread
counts as free for everybody else. Sources: the kernel's sched-eevdf.rst, sched_setattr(2) and
sched(7), "SCHED_IDLE". `main` and `workers` call these.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

NANOSECONDS = 100_000
"""The shortest slice that the kernel takes."""
SWITCH_SECONDS = 0.001
_INFERENCE_NANOSECONDS = 3 * NANOSECONDS
"""Any that is longer than the event loop's; the shorter, the better for the servers beside it."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The system call's number, which the C library has no function for."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period"""


def shorten_slice(nanoseconds: int = NANOSECONDS) -> bool:
    """Ask for the slice for this thread and all that it will start.

    Returns whether the kernel took it; one before 6.12 takes it and does nothing with it. Nothing
    is changed on another system, under another scheduling policy, or where it is not allowed.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, nanoseconds, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, 0, attributes, 0) == 0)


def yield_to_event_loop() -> bool:
    """Have this thread, which computes, step aside when the event loop has something to do.

    Returns what `shorten_slice` does.
    """
    return shorten_slice(_INFERENCE_NANOSECONDS)


def shorten_turns() -> None:
    """Have a thread that runs Python let another go on after a fifth of the usual time: the event
    loop waits for nobody's turn of 5 ms, such as that of a thread that writes the metrics.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def yield_to_all() -> bool:
    """Have this thread run only where no other wants to; for good, it has no way back.

    Returns whether the system knows that and allows it. Within its pod's share of the CPU it still
    goes on, however busy the machine is.
    """
    if sys.platform != "linux":
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # another kernel than Linux's own behind it, such as gVisor's; or a filter
        return False
    return True
