"""Running a command and reading off what it cost: wall time, CPU time, peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
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


_LAUNCHER = """
import posix, sys, time
out = posix.open("/dev/null", posix.O_WRONLY)
start = time.perf_counter()
actions = [(posix.POSIX_SPAWN_DUP2, out, 1)]
pid = posix.posix_spawnp(sys.argv[1], sys.argv[1:], posix.environ, file_actions=actions)
_, status, usage = posix.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, status)
"""
"""Starts the measured command. The peak memory of a process counts from that of the process which started it:
this one is as small as a Python can be, no larger than the smallest reference."""

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def environment() -> dict[str, str]:
    """This process's environment, with bytecode caching left on: users have it on."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command to its end, output discarded.

    Raises:
        RuntimeError: it failed; a failed run is no measurement.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
    done = subprocess.run(launcher, check=False, capture_output=True, text=True, env=environment())
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} could not be started: {done.stderr[-500:]}")
    wall, cpu, peak, status = done.stdout.split()
    if int(status) != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return Cost(float(wall), float(cpu), int(peak) * _PEAK_UNIT)


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
