"""Running a command and reading off what it cost: wall time, CPU time, peak memory."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run of a process took."""

    wall: float
    """Seconds."""

    cpu: float
    """Seconds of user and system time."""

    peak: int
    """Resident bytes at the most."""


def environment() -> dict[str, str]:
    """This process's environment, with bytecode caching left on: users have it on."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command to its end, output discarded.

    Raises:
        RuntimeError: it failed; a failed run is no measurement.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {complaint.decode(errors='replace')[-500:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _RSS_UNIT)


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def median_cost(command: Sequence[str], runs: int) -> Cost:
    """Medians over several runs, after one that warms the caches."""
    cost_of(command)
    costs = [cost_of(command) for _ in range(runs)]
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        max(cost.peak for cost in costs),
    )


def python(code: str, *arguments: str) -> list[str]:
    """A command that runs a line of Python."""
    return [sys.executable, "-c", code, *arguments]


def own_cpu() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
